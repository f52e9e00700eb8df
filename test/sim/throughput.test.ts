/**
 * Eight equal replicas give eight times what one gives, less five in a hundred. Clients in a closed loop keep every
 * engine busy: it takes four requests at once, a fifth of a second each, and has as many more in line.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { roll } from '../../src/kernel/dice.ts'
import { Place } from '../e2e/place.ts'
import { type Fleet, startFleet } from './fleet.ts'

const sequences = 4
const tokensPerSecond = 100
const warmupMs = 1_500
const measuredMs = process.env.FULL === '1' ? 30_000 : 6_000
const leastRatio = 7.6

describe('throughput', () => {
  const place = new Place()
  let fleet: Fleet

  before(async () => {
    fleet = await startFleet(place)
  })
  after(async () => {
    try {
      await fleet?.server.stop()
    } finally {
      await place.remove()
    }
  })

  it(`of eight replicas is at least ${leastRatio} times that of one`, async (t) => {
    const args = [`--tokens-per-second=${tokensPerSecond}`, '--first-token-ms=0']
    const engine = { max_num_seqs: sequences, additional_args: args }
    const rates: number[] = []
    for (const replicas of [1, 8]) {
      const name = `of-${replicas}`
      await fleet.deploy(name, replicas, { engine })
      await fleet.settled(name, replicas)
      rates.push(await tokenRate(fleet, name, 2 * sequences * replicas))
      await fleet.server.native.deleteDeployment(name)
    }
    const [one, eight] = rates as [number, number]
    t.diagnostic(`one: ${one.toFixed(0)} tokens/s, eight: ${eight.toFixed(0)}, ratio ${(eight / one).toFixed(2)}`)
    assert.ok(one >= 0.9 * sequences * tokensPerSecond, `one engine is busy: ${one.toFixed(0)} tokens/s`)
    assert.ok(eight / one >= leastRatio, `ratio ${(eight / one).toFixed(2)}`)
  })
})

/** Tokens a second of answers that came within the measured time; every client asks again as soon as it was answered. */
async function tokenRate(fleet: Fleet, name: string, clients: number): Promise<number> {
  const from = performance.now() + warmupMs
  const to = from + measuredMs
  let tokens = 0
  const client = async (which: number) => {
    for (let turn = 0; performance.now() < to; turn++) {
      // 10 to 30, so that the answers of one engine do not all end together.
      const asked = 10 + Math.floor(21 * roll(1, which, turn))
      await fleet.chat(name, asked)
      const now = performance.now()
      if (now >= from && now < to) tokens += asked
    }
  }
  await Promise.all(Array.from({ length: clients }, (_, which) => client(which)))
  return (tokens / measuredMs) * 1000
}
