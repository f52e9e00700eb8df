/** The parts of a start: moments from whoever knows them, how long each took, and which of them took too long. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Observation } from '../compute/contract.ts'
import type { StartMoments } from '../engines/contract.ts'
import { type Advance, advance } from './advance.ts'
import type { Heard, ReplicaView } from './replica.ts'
import type { PlanSettings } from './situation.ts'
import { durationsOf, momentsOf, startPhases } from './start.ts'

const began = 1_000_000
const settings: PlanSettings = {
  startDeadlineMs: 600_000,
  phaseDeadlineMs: { hardware: 120_000, files: 60_000, load: 300_000, warmup: 30_000 },
  brakeAfter: 5,
  rollbackAfter: 2,
  backoffMs: 1_000,
  backoffMaximumMs: 60_000,
  unresponsiveMs: 30_000,
  drainDeadlineMs: 600_000,
}

function starting(over: Partial<ReplicaView> = {}): ReplicaView {
  return {
    id: 'rep_a',
    revisionId: 'rev_a',
    phase: 'starting',
    placement: { provider: 'p', gpuType: 'h100', gpuCount: 1, region: 'r', emulated: false },
    after: null,
    createdAt: began,
    startedAt: began + 100,
    readyAt: null,
    drainAt: null,
    endedAt: null,
    unhealthySince: null,
    startPhases: { hardware: began },
    exit: null,
    seen: null,
    probe: null,
    drained: false,
    ...over,
  }
}
const pending = (detail: string, phase?: 'hardware' | 'files'): Observation =>
  phase === undefined ? { state: 'pending', detail } : { state: 'pending', detail, phase }
const running = (startedAt: number, more: { began?: StartMoments } = {}): Observation => {
  return { state: 'running', address: '127.0.0.1', port: 1, startedAt, ...more }
}
const loading = (phase: 'load' | 'warmup' = 'load'): Heard => ({ state: 'not_ready', phase, detail: 'loading' })

/** Looks every second, at what is there then; ends when it is ready or has failed. */
function watch(
  see: (seconds: number) => Pick<ReplicaView, 'seen' | 'probe'>,
  forSeconds: number,
): Advance & { at: number } {
  let replica = starting()
  for (let second = 1; second <= forSeconds; second += 1) {
    const result = advance({ ...replica, ...see(second) }, began + second * 1000, settings)
    if (result.failedStart !== null || result.becameReady) return { ...result, at: second }
    replica = result.replica
  }
  return { replica, patch: null, failedStart: null, becameReady: false, why: null, at: forSeconds }
}

test('provider and engine say when: each part to the millisecond, although it was seen once, at the end', () => {
  const now = began + 5_000
  const seen = running(began + 1_200, { began: { files: began + 700 } })
  const probe: Heard = { state: 'ready', began: { load: began + 1_203, warmup: began + 4_100, ready: began + 4_150 } }
  const { replica, becameReady } = advance(starting({ seen, probe }), now, settings)
  assert.ok(becameReady)
  assert.equal(replica.readyAt, now, 'it serves, and is paid for, from when we know')
  const took = durationsOf(replica.startPhases, now)
  assert.deepEqual(took, { hardware: 700, files: 503, load: 2_897, warmup: 50 })
})

test('nobody says when: what was seen, when it was seen', () => {
  const { replica, at } = watch((second) => {
    if (second < 3) return { seen: pending('making it', 'hardware'), probe: null }
    if (second < 10) return { seen: pending('downloading'), probe: null }
    const seen = running(began + 9_500)
    if (second < 20) return { seen, probe: loading() }
    return { seen, probe: second < 22 ? loading('warmup') : { state: 'ready' } }
  }, 100)
  assert.equal(at, 22)
  assert.deepEqual(durationsOf(replica.startPhases, 0), { hardware: 3_000, files: 6_500, load: 10_500, warmup: 2_000 })
})

test('each part has its own deadline, and the reason names it', () => {
  const hardware = watch(() => ({ seen: pending('making it', 'hardware'), probe: null }), 900)
  assert.deepEqual([hardware.at, hardware.failedStart?.why], [120, 'There was no hardware for it within 120 s.'])
  const files = watch((s) => ({ seen: s < 30 ? pending('x', 'hardware') : pending('10 %'), probe: null }), 900)
  assert.deepEqual([files.at, files.failedStart?.why], [90, 'Its files made no progress for 60 s.'])
  const load = watch(() => ({ seen: running(began + 500), probe: loading() }), 900)
  assert.deepEqual([load.at, load.failedStart?.why], [301, 'Its engine did not load within 300 s.'])
  const warmup = watch((s) => ({ seen: running(began), probe: loading(s < 50 ? 'load' : 'warmup') }), 900)
  assert.deepEqual([warmup.at, warmup.failedStart?.why], [80, 'Its engine did not warm up within 30 s.'])
  const unheard = watch(() => ({ seen: null, probe: null }), 900)
  assert.deepEqual(
    [unheard.at, unheard.failedStart?.why],
    [601, 'It was not ready within 600 s: hardware took 601 s of it.'],
    'what cannot be asked may be further than was seen',
  )
})

test('files that come on are waited for, however long; once they stop, not for long', () => {
  const slow = watch((second) => {
    if (second < 2_000) return { seen: pending(`${Math.floor(second / 20)} %`), probe: null }
    return { seen: running(began + 2_000_000), probe: second < 2_100 ? loading() : { state: 'ready' } }
  }, 4_000)
  assert.deepEqual([slow.at, slow.becameReady], [2_100, true])
  const stuck = watch((second) => ({ seen: pending(`${Math.min(50, Math.floor(second / 20))} %`), probe: null }), 4_000)
  assert.equal(stuck.failedStart?.why, 'Its files made no progress for 60 s.')
  assert.ok(stuck.at >= 1_060 && stuck.at <= 1_066, String(stuck.at))
  const never = watch((s) => ({ seen: s < 50 ? pending('1 of 2') : running(began + 50_000), probe: loading() }), 4_000)
  assert.equal(never.failedStart?.why, 'Its engine did not load within 300 s.')
})

test('moments are in order and within the start, whatever anybody says', () => {
  const moment = fc.option(fc.integer({ min: began - 10_000, max: began + 90_000 }), { nil: undefined })
  const told = fc.record({ hardware: moment, files: moment, load: moment, warmup: moment, ready: moment })
  fc.assert(
    fc.property(told, told, told, fc.boolean(), (noted, byProvider, byEngine, isReady) => {
      const now = began + 60_000
      const clean = (said: object) => JSON.parse(JSON.stringify(said)) as StartMoments
      const seen = running(began + 5_000, { began: clean(byProvider) })
      const word: Heard = isReady ? { state: 'ready' } : loading()
      const known = momentsOf(
        { startPhases: clean(noted), seen, probe: { ...word, began: clean(byEngine) }, createdAt: began },
        now,
      )
      const at = [...startPhases, 'ready' as const].flatMap((name) => known[name] ?? [])
      assert.deepEqual(
        at,
        at.toSorted((a, b) => a - b),
      )
      assert.ok(at.every((one) => one <= now))
      const parts = Object.values(durationsOf(known, now))
      const sum = parts.reduce((a, b) => a + b, 0)
      assert.equal(sum, (known.ready ?? now) - known.hardware!, 'the parts are the whole')
    }),
  )
})
