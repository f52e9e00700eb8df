/**
 * Everything at once, by chance: engines, keepers, control and Postgres are killed while replicas come and go, roll, sleep
 * and wake under load. Nothing is lost but streams that had begun on an engine that died, and then all is well again.
 * Only with FULL=1 (150 s; SECONDS=… and SEED=… choose others).
 */
// test timeout: 1200 s
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { signalProcess } from '../../src/runtime/processes.ts'
import type { Server } from '../e2e/harness.ts'
import { inNewPlace } from '../e2e/place.ts'
import { procOnly } from '../e2e/processes.ts'
import { Random } from '../paper/random.ts'
import { Clients, kinds } from './load.ts'
import { isFull, longMs, settledAt, startElastic } from './world.ts'

const seconds = Number(process.env.SECONDS ?? 150)
const seed = Number(process.env.SEED ?? systemClock.now() % 100_000)
const slots = 4
const atOnce = 16
const env = {
  PADDOCK_COMPUTE_LOCAL_CPU_SLOTS: String(slots),
  // Engines that are killed while they start are no reason to give up here.
  PADDOCK_START_STABLE_SECONDS: '0',
  PADDOCK_START_BRAKE_AFTER: '100',
  PADDOCK_START_ROLLBACK_AFTER: '100',
}

test('a storm, and then all is well', { skip: procOnly || (isFull ? false : 'takes minutes: only with FULL=1') }, (t) =>
  inNewPlace(async (place) => {
    t.diagnostic(`SEED=${seed}`)
    const server = await startElastic(place, { env })
    const clients = new Clients(server)
    const { id } = await server.deploy('storm', { replicas: 2 })
    await settledAt(server, id, 2)
    let over = false
    const asking = clients.keepAsking(
      atOnce,
      (i) => ({ model: id, tokens: 6 + (i % 11), stream: i % 4 !== 0 }),
      () => over,
    )
    const faults = strike(server, new Random(seed), () => over)
    const changes = change(server, id, new Random(seed + 1), () => over)
    await systemClock.sleep(seconds * 1000)
    over = true
    const [answers, struck, changed] = await Promise.all([asking, faults, changes])
    t.diagnostic(`${changed} changes; killed: ${JSON.stringify(struck)}; ${JSON.stringify(kinds(answers))}`)
    const { whole, 'error_event 200 engine_failed': broken = 0, ...other } = kinds(answers)
    assert.deepEqual(other, {})
    assert.ok(whole! > seconds && broken <= ((struck.engine ?? 0) + (struck.keeper ?? 0)) * atOnce)
    const api = () => server.native.listDeployments().then(Boolean, () => false)
    await until(systemClock, 'the API answers', longMs, api)
    await server.native.changeDeployment(id, { replicas: 2 })
    await server.native.wakeDeployment(id)
    await settledAt(server, id, 2)
    assert.deepEqual(kinds(await clients.burst(20, () => ({ model: id, tokens: 8, stream: true }))), { whole: 20 })
    await clients.close()
    await server.stop()
  }),
)

/** Kills something every few seconds. Gives how often what. */
async function strike({ place }: Server, random: Random, over: () => boolean): Promise<Record<string, number>> {
  const struck: Record<string, number> = {}
  while (!over()) {
    await systemClock.sleep(random.int(1_000, 6_000))
    const role = random.weighted({ engine: 5, keeper: 2, control: 4, postmaster: 1 })
    const victim = random.pick(place.processes(role))
    if (victim && signalProcess(victim, 'SIGKILL')) struck[role] = (struck[role] ?? 0) + 1
  }
  return struck
}

/** Somebody changes something every few seconds, and does not give up when the API is away. */
async function change({ native }: Server, id: string, random: Random, over: () => boolean): Promise<number> {
  let changes = 0
  while (!over()) {
    const what = random.weighted({ scale: 3, roll: 3, sleep: 2 })
    const number = random.int(1, slots)
    const made = () => {
      if (what === 'scale') return native.changeDeployment(id, { replicas: number })
      if (what === 'roll') return native.changeDeployment(id, { engine: { max_num_seqs: 3 + number } })
      return native.sleepDeployment(id)
    }
    if (await made().then(Boolean, () => false)) changes += 1
    await systemClock.sleep(random.int(200, 5_000))
  }
  return changes
}
