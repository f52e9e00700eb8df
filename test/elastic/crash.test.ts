/**
 * Replicas that die or fall silent in mid-load. Who loses something is told so, and it is only who had begun to get it.
 * Rounds of SIGKILL: 2; with FULL=1: 10.
 */
// test timeout: 900 s
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { signalProcess } from '../../src/runtime/processes.ts'
import type { Server } from '../e2e/harness.ts'
import { Place } from '../e2e/place.ts'
import { type OwnProcess, procOnly } from '../e2e/processes.ts'
import { type Answer, Clients, kinds } from './load.ts'
import { enginesOf, eventsOf, isFull, longMs, settledAt, startElastic, starts } from './world.ts'

const rounds = isFull ? 10 : 2
const replicas = 2
const atOnce = 24
const unresponsiveSeconds = 20

describe('replicas that die or fall silent', { skip: procOnly }, () => {
  const place = new Place()
  let server: Server
  let clients: Clients
  let id: string

  before(async () => {
    // With FULL=1 more are killed in a short time than an engine that dies by itself is started again.
    const env = {
      PADDOCK_LIVENESS_UNRESPONSIVE_SECONDS: String(unresponsiveSeconds),
      PADDOCK_START_STABLE_SECONDS: '0',
    }
    server = await startElastic(place, { env })
    clients = new Clients(server)
    id = (await server.deploy('crash', { replicas, engine: { max_num_seqs: 8 } })).id
    await settledAt(server, id, replicas)
  })
  after(async () => {
    await clients?.close()
    try {
      await server?.stop()
    } finally {
      await place.remove()
    }
  })

  /** Two streams for each plain request, long enough to be hit in the middle. */
  const ask = (i: number) => ({ model: id, tokens: 24 + (i % 16), stream: i % 3 !== 0 })

  it('SIGKILL: only streams that it had begun end, each with an error; all else is answered; it is replaced', async (t) => {
    for (let round = 0; round < rounds; round++) {
      const startsBefore = await starts(server, id)
      const from = clients.answers.length
      let over = false
      const asking = clients.keepAsking(atOnce, ask, () => over && clients.answers.length >= from + 150)
      const victim = (await enginesOf(server, id))[0]!
      const begun = () => clients.flowing.get(victim.replicaId!) ?? 0
      await until(systemClock, 'it is in the middle of several streams', longMs, () => begun() >= 3, 1)
      const hit = begun()
      assert.ok(signalProcess(victim, 'SIGKILL'))
      await until(systemClock, 'it is replaced', longMs, async () => (await starts(server, id)) > startsBefore)
      await settledAt(server, id, replicas)
      over = true
      const answers = await asking
      expectOnlyItsStreams(answers, victim.replicaId!, atOnce)
      assert.equal((await starts(server, id)) - startsBefore, 1)
      t.diagnostic(`${hit} streams under way there: ${JSON.stringify(kinds(answers))}`)
    }
    const ended = await eventsOf(server, id, 'replica.ended')
    assert.deepEqual(
      ended.map(({ data }) => data.signal),
      Array.from({ length: rounds }, () => 'SIGKILL'),
    )
  })

  /** A replica cut off and back: nothing is lost, nothing is started, and it takes its share again. */
  async function silent(engine: OwnProcess, ms: number): Promise<Answer[]> {
    const asking: Promise<Answer>[] = []
    assert.ok(signalProcess(engine, 'SIGSTOP'))
    try {
      asking.push(...Array.from({ length: atOnce }, (_, i) => clients.ask(ask(i))))
      await systemClock.sleep(ms)
    } finally {
      signalProcess(engine, 'SIGCONT')
    }
    return Promise.all(asking)
  }

  it('silent for less than the limit, then back: routed again, not restarted, nothing lost', async () => {
    const before = await starts(server, id)
    const [engine] = await enginesOf(server, id)
    const answers = await silent(engine!, 4_000)
    assert.deepEqual(kinds(answers), { whole: atOnce })
    const again = await clients.burst(atOnce, ask)
    assert.deepEqual(kinds(again), { whole: atOnce })
    assert.ok(
      again.some(({ replica }) => replica === engine!.replicaId),
      'it answers again',
    )
    await settledAt(server, id, replicas)
    assert.equal(await starts(server, id), before)
    assert.ok((await enginesOf(server, id)).some(({ pid }) => pid === engine!.pid))
  })
})

/** Every answer whole, but for error events of streams that this replica had begun. */
function expectOnlyItsStreams(answers: readonly Answer[], replica: string, most: number): void {
  const broken = answers.filter(({ kind }) => kind !== 'whole')
  for (const { ask, kind, code, status, replica: by, tokens } of broken)
    assert.deepEqual(
      [ask.stream, kind, code, status, by, tokens > 0],
      [true, 'error_event', 'engine_failed', 200, replica, true],
    )
  assert.ok(broken.length >= 1 && broken.length <= most, `${broken.length} streams were broken off`)
}
