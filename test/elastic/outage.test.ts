/**
 * The control plane is away, in four ways, while everybody asks: inference goes on, no replica is restarted, nobody is
 * put to sleep for want of reports, and what was held is answered when it is back.
 * An outage takes 5 s, a standstill 2.5 s; with FULL=1 each takes 60 s.
 */
// test timeout: 1200 s
import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { signalProcess } from '../../src/runtime/processes.ts'
import type { Server } from '../e2e/harness.ts'
import { Place } from '../e2e/place.ts'
import { procOnly } from '../e2e/processes.ts'
import { type Answer, Clients, kinds } from './load.ts'
import { controlDown, databaseDown, type End, frozen } from './outage.ts'
import { asleepAndGone, enginesOf, eventsOf, isFull, longMs, settledAt, startElastic, starts } from './world.ts'

const outageMs = isFull ? 60_000 : 5_000
/** Where nothing ends and nothing has to be started again. */
const standstillMs = isFull ? 60_000 : 2_500
/** Shorter than the outage: without care everything quiet would be put to sleep in it, or at its end. */
const idleSeconds = isFull ? 20 : 3
/** A gap in the reports as long as this is no quiet time (autoscaling/window.ts). */
const isGap = outageMs > 20_000

describe('the control plane is away', { skip: procOnly }, () => {
  const place = new Place()
  let server: Server
  let clients: Clients
  /** Two replicas, asked all the time. */
  let busy: string
  /** May sleep, and is asked more often than its idle timeout. */
  let dripping: string
  /** May sleep, and nobody asks it in the outage. */
  let quiet: string
  /** Sleeps, and is asked in the outage. */
  let sleeping: string

  before(async () => {
    server = await startElastic(place)
    clients = new Clients(server)
    const mayWake = { min_replicas: 0, max_replicas: 2, idle_timeout_seconds: 3_600 }
    const scaling = { ...mayWake, idle_timeout_seconds: idleSeconds }
    busy = (await server.deploy('busy', { replicas: 2 })).id
    dripping = (await server.deploy('dripping', { scaling })).id
    quiet = (await server.deploy('quiet', { scaling })).id
    sleeping = (await server.deploy('sleeping', { scaling: mayWake })).id
    await settledAt(server, busy, 2)
  })
  after(async () => {
    await clients?.close()
    try {
      await server?.stop()
    } finally {
      await place.remove()
    }
  })

  const one = (model: string, stream = true) => clients.ask({ model, tokens: 8, stream })

  /** What each of those that ran has run on. */
  async function enginesThen(): Promise<string> {
    const all = await Promise.all([busy, dripping].map((id) => enginesOf(server, id)))
    return JSON.stringify(all.map((engines) => engines.map(({ pid }) => pid).sort()))
  }

  /** `begin` takes the control plane away. */
  async function outage(t: TestContext, begin: () => Promise<End>, ms = outageMs): Promise<void> {
    await server.native.sleepDeployment(sleeping)
    await asleepAndGone(server, sleeping)
    assert.deepEqual(kinds(await Promise.all([dripping, quiet].map((id) => one(id)))), { whole: 2 })
    const [engines, startsBefore] = [await enginesThen(), await starts(server, busy)]
    const [quietEngine] = await enginesOf(server, quiet)
    let over = false
    const load = clients.keepAsking(
      6,
      (i) => ({ model: busy, tokens: 8, stream: i % 4 !== 0 }),
      () => over,
    )
    const drops = drip(() => over)
    const downAt = systemClock.now()
    const end = await begin()
    const held = clients.burst(20, (i) => ({ model: sleeping, tokens: 8, stream: i % 2 === 0 }))
    await expectSilence(downAt + ms)
    assert.ok(
      place.processes('engine').some(({ pid }) => pid === quietEngine!.pid),
      'nobody is put to sleep',
    )
    const backAt = systemClock.now()
    await end()
    assert.deepEqual(kinds(await held), { whole: 20 })
    await until(systemClock, 'the API answers', longMs, apiAnswers)
    await settledAt(server, busy, 2)
    assert.equal(await enginesThen(), engines, 'the same engines as before')
    assert.equal(await starts(server, busy), startsBefore)
    over = true
    const asked = [...(await load), ...(await drops)]
    assert.deepEqual(kinds(asked), { whole: asked.length })
    const sleptAfterMs = await expectSleep(quiet, backAt)
    t.diagnostic(
      `${asked.length} requests, longest ${Math.round(Math.max(...asked.map(({ ms }) => ms)))} ms; ` +
        `the quiet one slept ${sleptAfterMs} ms after the return`,
    )
  }

  /** It goes to sleep in the end, and not by time of which nothing is known. */
  async function expectSleep(id: string, backAt: number): Promise<number> {
    await asleepAndGone(server, id)
    const [slept] = await eventsOf(server, id, 'deployment.scaled')
    const afterMs = Date.parse(slept!.at) - backAt
    assert.ok(afterMs >= (isGap ? idleSeconds * 1000 - 500 : 0), `it was put to sleep ${afterMs} ms after the return`)
    return afterMs
  }

  /** One request now and again, so that it is never quiet for its idle timeout. */
  async function drip(over: () => boolean): Promise<Answer[]> {
    const answers: Answer[] = []
    while (!over()) {
      answers.push(await one(dripping))
      await systemClock.sleep((idleSeconds * 1000) / 5)
    }
    return answers
  }

  const apiAnswers = (): Promise<boolean> =>
    server.native
      .listDeployments()
      .then(Boolean)
      .catch(() => false)

  /** Until then the API answers nothing: the outage is one. */
  async function expectSilence(untilMs: number): Promise<void> {
    while (systemClock.now() < untilMs) {
      const patience = systemClock.sleep(500).then(() => false)
      assert.equal(await Promise.race([apiAnswers(), patience]), false)
      await patience
    }
  }

  it('control is killed whenever it is started', (t) => outage(t, () => controlDown(server)))

  it('Postgres is killed and does not start', (t) => outage(t, () => databaseDown(place)))

  it('control stands still', (t) => outage(t, () => frozen(place, 'control'), standstillMs))

  it('Postgres stands still', (t) => outage(t, () => frozen(place, 'postmaster', 'backend'), standstillMs))

  it('held requests survive the engine that was starting, control and Postgres, one after the other', async () => {
    await server.native.sleepDeployment(sleeping)
    await asleepAndGone(server, sleeping)
    const known = new Set(place.processes('engine').map(({ replicaId }) => replicaId))
    const held = clients.burst(20, () => ({ model: sleeping, tokens: 8, stream: false }))
    const fresh = () => place.processes('engine').find(({ replicaId }) => !known.has(replicaId))
    await until(systemClock, 'an engine is being started', longMs, () => fresh() !== undefined, 5)
    for (const victim of [fresh()!, place.process('control'), place.process('postmaster')])
      assert.ok(signalProcess(victim, 'SIGKILL'))
    assert.deepEqual(kinds(await held), { whole: 20 })
    await until(systemClock, 'the API answers', longMs, apiAnswers)
    await settledAt(server, sleeping, 1)
  })
})
