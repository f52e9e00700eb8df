/** The watcher with a provider in memory and a real engine port: what it tells, when, and that it is silent otherwise. */
import { strict as assert } from 'node:assert'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, afterEach, beforeEach, test } from 'node:test'
import type { ComputeDriver, Observation } from '../compute/contract.ts'
import { availableEngines } from '../engines/registry.ts'
import type { ReplicaId } from '../kernel/ids.ts'
import { Secret } from '../kernel/secret.ts'
import { systemClock as clock, until } from '../runtime/clock.ts'
import { silentLog } from '../runtime/log.ts'
import { Seal } from '../runtime/seal.ts'
import type { ReplicaPhase, ReplicaView } from './replica.ts'
import { type Followed, Watcher } from './watch.ts'

/** What the engine answers; null = nothing at all. */
let health: number | null = 200
let probes = 0
const server = createServer((_request, response) => {
  probes += 1
  const answer = () =>
    health !== null && response.writeHead(health, { 'content-type': 'application/json' }).end('{"status":"ok"}')
  if (answerAfterMs === 0) answer()
  else setTimeout(answer, answerAfterMs)
}).listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address() as AddressInfo
after(() => {
  server.closeAllConnections()
  server.close()
})

const running: Observation = { state: 'running', address: '127.0.0.1', port, startedAt: 0 }
const dead: Observation = {
  state: 'exited',
  exit: { at: 1, code: 1, signal: null, lastLines: [], why: 'It ended.' },
}
let seen: Map<string, Observation>
let questions: number
let told: string[][]
let answerAfterMs: number
let fails: number
let stop: AbortController
let ended: Promise<void>
let watcher: Watcher

const unresponsiveMs = 1_500
const settings = {
  startDeadlineMs: 60_000,
  brakeAfter: 5,
  rollbackAfter: 2,
  backoffMs: 1_000,
  backoffMaximumMs: 1_000,
  unresponsiveMs,
  drainDeadlineMs: 1_000,
}

function begin(bulk: boolean): void {
  const observe = async (id: ReplicaId) => {
    questions += 1
    return seen.get(id) ?? { state: 'not_found' as const }
  }
  const observeAll = async (ids: readonly ReplicaId[]) => {
    questions += 1
    return new Map(ids.flatMap((id) => (seen.has(id) ? [[id, seen.get(id)!] as const] : [])))
  }
  const driver = { name: 'memory', observe, ...(bulk ? { observeAll } : {}) } as Partial<ComputeDriver> as ComputeDriver
  const world = {
    clock,
    seal: new Seal(new Secret('a secret of the test')),
    computes: new Map([['memory', driver]]),
    engines: availableEngines(),
    settings,
    log: silentLog,
  }
  watcher = new Watcher(world, async (ids) => {
    told.push(ids)
    if (fails-- > 0) throw new Error('the database is away')
  })
  ended = watcher.run(stop.signal)
}

beforeEach(() => {
  ;[health, probes, seen, questions, told, fails, answerAfterMs] = [200, 0, new Map(), 0, [], 0, 0]
  stop = new AbortController()
})
afterEach(async () => {
  stop.abort()
  await ended
})

function replica(id: string, phase: ReplicaPhase, over: Partial<ReplicaView> = {}): Followed {
  const now = clock.now()
  const view = {
    id,
    revisionId: 'rev_1',
    phase,
    placement: { provider: 'memory', gpuType: 'cpu', gpuCount: 1, region: 'here', emulated: false },
    after: null,
    createdAt: now,
    startedAt: now,
    readyAt: phase === 'starting' ? null : now,
    drainAt: null,
    endedAt: null,
    unhealthySince: null,
    startPhases: {},
    exit: null,
    seen: null,
    probe: null,
    drained: false,
    ...over,
  }
  return { view, provider: 'memory', engine: 'llamacpp' }
}
const tells = (what: string, count = 1) => until(clock, what, 10_000, () => told.length >= count)

test('a healthy fleet asks for no turn; one question covers all, each engine is probed, and a death is told once', async () => {
  begin(true)
  for (let i = 0; i < 50; i += 1) {
    seen.set(`rep_${i}`, running)
    watcher.follow(`dep_${i}`, [replica(`rep_${i}`, 'ready')])
  }
  await until(clock, 'all are probed', 10_000, () => probes >= 50)
  assert.deepEqual(told, [])
  assert.ok(questions < 25, `${questions} questions`)
  await until(clock, 'the answer is known', 5_000, () => watcher.recall('rep_7') !== null)
  assert.deepEqual(watcher.recall('rep_7'), { state: 'ready' })
  seen.set('rep_7', dead)
  await tells('the death')
  const before = questions
  await until(clock, 'more looks', 5_000, () => questions > before + 2)
  assert.deepEqual(told, [['dep_7']], 'once, until the turn that follows')
})

test('each is observed where the provider knows no other way; one it does not know any more is told', async () => {
  begin(false)
  seen.set('rep_a', running)
  seen.set('rep_b', running)
  watcher.follow('dep_a', [replica('rep_a', 'ready'), replica('rep_b', 'draining')])
  await until(clock, 'both are observed', 5_000, () => questions >= 4)
  seen.delete('rep_b')
  await tells('the loss')
  assert.deepEqual(told, [['dep_a']])
})

test('a provider that cannot be asked says nothing', async () => {
  begin(true)
  watcher.follow('dep_a', [replica('rep_a', 'ready')])
  await until(clock, 'looks', 5_000, () => questions >= 3)
  assert.deepEqual(told, [])
})

test('an engine that falls silent is told, and so is one that answers again', async () => {
  begin(true)
  seen.set('rep_a', running)
  watcher.follow('dep_a', [replica('rep_a', 'ready')])
  await until(clock, 'a probe', 5_000, () => probes > 0)
  health = 503
  await tells('the silence')
  watcher.follow('dep_a', [replica('rep_a', 'ready', { unhealthySince: clock.now() - unresponsiveMs / 2 })])
  const before = probes
  await until(clock, 'more probes', 5_000, () => probes > before + 2)
  assert.equal(told.length, 1, 'how long it may be silent is the plan’s to say')
  assert.equal(watcher.recall('rep_a')?.state, 'not_ready', 'so that no turn waits for one that says nothing')
  health = 200
  await tells('the recovery', 2)
})

test('a start: loading, then ready, is told as it happens; a start that is not watched any more is not', async () => {
  begin(false)
  health = 503
  seen.set('rep_a', running)
  watcher.follow('dep_a', [replica('rep_a', 'starting')])
  await tells('loading')
  watcher.follow('dep_a', [replica('rep_a', 'starting', { startPhases: { hardware: 1, load: 1 } })])
  const before = probes
  await until(clock, 'more probes', 5_000, () => probes > before + 3)
  assert.equal(told.length, 1, 'nothing new')
  health = 200
  await tells('ready', 2)
  watcher.follow('dep_a', [])
  const last = questions
  await clock.sleep(50)
  assert.ok(questions <= last + 1)
})

test('an engine that is slow to answer while it starts is asked again at once, not a second later', async () => {
  begin(false)
  health = 503
  answerAfterMs = 30
  seen.set('rep_a', running)
  watcher.follow('dep_a', [replica('rep_a', 'starting', { startPhases: { hardware: 1, load: 1 } })])
  await until(clock, 'ten probes', 6_000, () => probes >= 10)
})

test('what has ended is cleared away by a turn, and a turn that could not be asked for is asked for again', async () => {
  fails = 1
  begin(false)
  seen.set('rep_a', dead)
  watcher.follow('dep_a', [replica('rep_a', 'deleting', { endedAt: clock.now() })])
  await tells('after a failure, again', 2)
  assert.deepEqual(told, [['dep_a'], ['dep_a']])
  seen.delete('rep_a')
  watcher.follow('dep_a', [replica('rep_a', 'deleting', { endedAt: clock.now() })])
  await tells('it is gone', 3)
})
