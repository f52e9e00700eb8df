/** Whatever the plan calls a deployment, it says why (X2): the table of phases walked, and any situation at all. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Offer } from '../compute/contract.ts'
import { type Phase, phases, type Reason, reasonOf, reasonTable } from '../kernel/phase.ts'
import { type Plan, plan } from './plan.ts'
import { type ReplicaView, replicaPhases } from './replica.ts'
import { noStarts, type PlanInput } from './situation.ts'

const now = Date.UTC(2026, 10, 21)
const placement = { provider: 'p', gpuType: 'h100', gpuCount: 1, region: 'r', emulated: false }
const offer: Offer = { ...placement, totalUnits: 8, freeUnits: 8 }
const settings = {
  startDeadlineMs: 60_000,
  brakeAfter: 3,
  rollbackAfter: 2,
  backoffMs: 1_000,
  backoffMaximumMs: 60_000,
  unresponsiveMs: 30_000,
  drainDeadlineMs: 600_000,
}

function replicaOf(id: string, phase: ReplicaView['phase'], revision = 1): ReplicaView {
  const lives = phase === 'ready' || phase === 'draining'
  return {
    id,
    revisionId: `rev_${revision}`,
    phase,
    placement,
    after: null,
    createdAt: now - 1_000,
    startedAt: phase === 'planned' ? null : now - 1_000,
    readyAt: lives ? now - 500 : null,
    drainAt: phase === 'draining' ? now - 100 : null,
    endedAt: phase === 'deleting' ? now - 100 : null,
    unhealthySince: null,
    startPhases: {},
    exit: null,
    seen: { state: 'running', address: '127.0.0.1', port: 1, startedAt: now - 1_000 },
    probe: lives ? { state: 'ready' } : { state: 'not_ready', phase: 'load', detail: '' },
    drained: false,
  }
}

function inputOf(wish: Partial<PlanInput['deployment']>, replicas: ReplicaView[], revisions = 1, free = 8): PlanInput {
  return {
    deployment: {
      id: 'dep_a',
      desired: 'running',
      desiredReplicas: 1,
      phase: 'starting',
      reason: null,
      starts: noStarts,
      ...wish,
    },
    revisions: Array.from({ length: revisions }, (_, at) => ({
      id: `rev_${revisions - at}`,
      number: revisions - at,
      hardware: [{ gpuType: 'h100', gpuCount: 1, region: null }],
      failed: false,
      proven: true,
    })),
    replicas,
    offers: [{ ...offer, freeUnits: free }],
    now,
    settings,
  }
}

function assertSaysWhy({ phase, reason }: Pick<Plan, 'phase' | 'reason'>): void {
  if (phase === 'serving' && reason === null) return
  assert.ok(reason, `${phase} says no reason`)
  const given: readonly Phase[] = reasonTable[reason.code].phases
  assert.ok(given.includes(phase), `${reason.code} while ${phase}`)
  assert.ok(reason.message.length > 10, reason.message)
  const seconds = reason.retry_after
  assert.equal(seconds !== undefined, reasonTable[reason.code].retryAfterSeconds !== null, reason.code)
  assert.ok(seconds === undefined || (seconds >= 1 && seconds <= 60), String(seconds))
  assert.ok(Date.parse(reason.since) <= now, reason.since)
}

const failedOnce = { failed: 1, lastAt: now, why: 'It ended with status 7.', lastLines: [] }
const ways: Record<Phase, PlanInput[]> = {
  queued: [inputOf({}, [], 1, 0)],
  starting: [inputOf({}, [replicaOf('a', 'starting')]), inputOf({ starts: failedOnce }, [])],
  serving: [inputOf({}, [replicaOf('a', 'ready')]), inputOf({ desiredReplicas: 2 }, [replicaOf('a', 'ready')], 1, 0)],
  scaling: [inputOf({ desiredReplicas: 2 }, [replicaOf('a', 'ready'), replicaOf('b', 'starting')])],
  rolling: [inputOf({}, [replicaOf('a', 'ready'), replicaOf('b', 'starting', 2)], 2)],
  degraded: [inputOf({ desiredReplicas: 2, starts: failedOnce }, [replicaOf('a', 'ready')])],
  asleep: [inputOf({ desiredReplicas: 0 }, []), inputOf({ desiredReplicas: 0 }, [replicaOf('a', 'draining')])],
  waking: [inputOf({ phase: 'asleep' }, []), inputOf({ phase: 'waking' }, [replicaOf('a', 'planned')])],
  stopping: [
    inputOf({ desired: 'stopped' }, [replicaOf('a', 'draining')]),
    inputOf({ desired: 'deleted' }, [replicaOf('a', 'ready')]),
  ],
  stopped: [inputOf({ desired: 'stopped' }, [])],
  failed: [inputOf({ starts: { ...failedOnce, failed: 3 } }, [])],
  deleted: [inputOf({ desired: 'deleted' }, [])],
}

for (const phase of phases)
  test(`${phase}: reached, and says why`, () => {
    for (const input of ways[phase]) {
      const made = plan(input)
      assert.equal(made.phase, phase)
      assertSaysWhy(made)
    }
  })

test('the checker finds a phase without its reason', () => {
  assert.throws(() => assertSaysWhy({ phase: 'rolling', reason: null }))
  assert.throws(() => assertSaysWhy({ phase: 'rolling', reason: reasonOf('asleep', new Date(now)) }))
})

test('since is when it began, as long as the reason stays', () => {
  const since = new Date(now - 60_000).toISOString()
  const before: Reason = { code: 'capacity_short', message: 'Before.', since, retry_after: 60 }
  assert.equal(plan(inputOf({ phase: 'queued', reason: before }, [], 1, 0)).reason?.since, since)
  assert.notEqual(plan(inputOf({ phase: 'queued', reason: before }, [])).reason?.since, since)
})

test('in any situation there is a reason, or it simply serves', () => {
  const replicas = fc.array(
    fc.record({
      phase: fc.constantFrom(...replicaPhases.filter((phase) => phase !== 'gone')),
      revision: fc.integer({ min: 1, max: 3 }),
      silent: fc.boolean(),
      lost: fc.boolean(),
      drained: fc.boolean(),
    }),
    { maxLength: 4 },
  )
  const property = fc.property(
    fc.constantFrom('running', 'running', 'stopped', 'deleted'),
    fc.integer({ min: 0, max: 3 }),
    fc.constantFrom(...phases),
    fc.integer({ min: 0, max: 4 }),
    fc.integer({ min: 0, max: 3 }),
    replicas,
    (desired, desiredReplicas, phase, failed, free, rows) => {
      const starts = failed === 0 ? noStarts : { ...failedOnce, failed, lastAt: now - 1_500 }
      const views = rows.map((row, at) => ({
        ...replicaOf(`rep_${at}`, row.phase, row.revision),
        drained: row.drained,
        ...(row.silent ? { probe: null } : {}),
        ...(row.lost ? { seen: { state: 'not_found' as const } } : {}),
      }))
      const wish = { desired: desired as 'running', desiredReplicas, phase, starts }
      assertSaysWhy(plan(inputOf(wish, views, 3, free)))
    },
  )
  fc.assert(property, { numRuns: 2_000, seed: 20261121 })
})
