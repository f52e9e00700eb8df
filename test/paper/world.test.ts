/** 200,000 random steps, invariants after every one; and the planted bugs that these must find. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { phases } from '../../src/kernel/phase.ts'
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
/** What a world that has gone tame would no longer try. */
const mustArise = [
  ...['load', 'wake', 'schedule'].map((cause) => `autoscaler: more for ${cause}`),
  ...['load', 'idle', 'schedule'].map((cause) => `autoscaler: less for ${cause}`),
  ...['cooldown-held', 'no-reports', 'somebody was faster', 'stopped, inactive'].map((what) => `autoscaler: ${what}`),
  ...['done', 'no reply', 'rejected', 'short'].map((reply) => `create: ${reply}`),
  ...phases.map((phase) => `phase: ${phase}`),
  ...['ready', 'its start failed', 'died', 'soon ended', 'lost or silent', 'draining', 'drained'].map(
    (what) => `replica: ${what}`,
  ),
  ...['its drain called off', 'past its drain deadline'].map((what) => `replica: ${what}`),
  ...['ok', 'held', 'hold_full', 'starting', 'engine_failed', 'stopped'].map((code) => `request: ${code}`),
  ...['its claim was lost', 'the wish changed while it looked', 'nothing to do'].map((what) => `turn: ${what}`),
  ...['the place was taken meanwhile', 'rolls in place', 'a revision given up'].map((what) => `turn: ${what}`),
  'sweep: an orphan removed',
]
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
  if (oneSeed === null && steps >= 100_000)
    for (const situation of mustArise) assert(situations.has(situation), `it never happened: ${situation}`)
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
