/** 200,000 random steps, invariants after every one; and the planted bugs that these must find. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { step } from './events.ts'
import { check } from './invariants.ts'
import { create } from './people.ts'
import { planted } from './planted.ts'
import { type Rules, realRules } from './rules.ts'
import { settle } from './settle.ts'
import { World } from './world.ts'

const steps = Number(process.env.STEPS ?? 200_000)
const perWorld = 1_000
const oneSeed = process.env.SEED === undefined ? null : Number(process.env.SEED)
const traced = 12
const seedsOfPlanted = 150

function run(seed: number, rules: Rules, situations?: Map<string, number>): void {
  const world = new World(seed, rules, situations)
  create(world)
  try {
    for (let i = 0; i < perWorld; i += 1) {
      step(world)
      check(world)
    }
    settle(world)
  } catch (error) {
    const trace = world.trace.map((line, i) => `${i} ${line.join(' ')}`).slice(oneSeed === null ? -traced : 0)
    throw new Error(`SEED=${seed}: ${(error as Error).message}\n${trace.join('\n')}`, { cause: error })
  }
}

test(`${steps} random steps keep every invariant and settle`, (t) => {
  const seeds = oneSeed === null ? Array.from({ length: steps / perWorld }, (_, i) => i + 1) : [oneSeed]
  const situations = new Map<string, number>()
  for (const seed of seeds) run(seed, realRules, situations)
  for (const [situation, times] of [...situations].sort()) t.diagnostic(`${times} × ${situation}`)
})

for (const [name, broken] of Object.entries(planted))
  test(`planted bug is found: ${name}`, (t) => {
    const rules = { ...realRules, ...broken }
    let found: Error | null = null
    for (let seed = 1; seed <= seedsOfPlanted && found === null; seed += 1)
      try {
        run(seed, rules)
      } catch (error) {
        found = error as Error
      }
    assert(found !== null, `${seedsOfPlanted} worlds did not find it`)
    t.diagnostic(found.message)
  })
