/** Who goes first and what stays, over every small fleet: what peers' users lost to a scale-down or a shortage. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Offer } from '../compute/contract.ts'
import { type Plan, plan } from './plan.ts'
import type { ReplicaView } from './replica.ts'
import { noStarts, type PlanInput } from './situation.ts'

const now = Date.UTC(2026, 10, 21)
const placement = { provider: 'p', gpuType: 'h100', gpuCount: 1, region: 'r', emulated: false }
const settings = {
  startDeadlineMs: 600_000,
  brakeAfter: 5,
  rollbackAfter: 2,
  backoffMs: 1_000,
  backoffMaximumMs: 60_000,
  unresponsiveMs: 30_000,
  drainDeadlineMs: 600_000,
}

/** planned, starting, ready, or ready and silent for a moment */
const kinds = ['planned', 'starting', 'silent', 'ready'] as const
type Kind = (typeof kinds)[number]

/** The first of them is the youngest. */
function fleet(of: readonly Kind[]): ReplicaView[] {
  return of.map((kind, age): ReplicaView => {
    const serves = kind === 'ready' || kind === 'silent'
    return {
      id: `rep_${age}`,
      revisionId: 'rev_1',
      phase: serves ? 'ready' : kind,
      placement,
      after: null,
      createdAt: now - 1_000 * (age + 1),
      startedAt: kind === 'planned' ? null : now - 1_000,
      readyAt: serves ? now - 500 : null,
      drainAt: null,
      endedAt: null,
      unhealthySince: kind === 'silent' ? now - 1_000 : null,
      startPhases: {},
      exit: null,
      seen: kind === 'planned' ? null : { state: 'running', address: '::1', port: 1, startedAt: now - 1_000 },
      probe: kind === 'ready' ? { state: 'ready' } : { state: 'not_ready', phase: 'load', detail: '' },
      drained: false,
    }
  })
}

function planFor(replicas: ReplicaView[], desiredReplicas: number, over: Partial<PlanInput> = {}, failed = 0): Plan {
  const starts = failed === 0 ? noStarts : { failed, lastAt: now - 1, why: 'No hardware.', lastLines: [] }
  return plan({
    deployment: { id: 'dep_a', desired: 'running', desiredReplicas, phase: 'serving', reason: null, starts },
    revisions: [
      {
        id: 'rev_1',
        number: 1,
        hardware: [{ gpuType: 'h100', gpuCount: 1, region: null }],
        failed: false,
        proven: true,
      },
    ],
    replicas,
    offers: [],
    now,
    settings,
    ...over,
  })
}

/** Replicas that this plan sends away. */
function gone({ actions }: Plan): string[] {
  return actions.flatMap((a) =>
    a.do === 'update' && (a.patch.phase === 'draining' || a.patch.phase === 'deleting') ? [a.replicaId] : [],
  )
}

function fleets(size: number): Kind[][] {
  return size === 0 ? [[]] : fleets(size - 1).flatMap((rest) => kinds.map((kind) => [kind, ...rest]))
}

test('fewer are wanted: what does not serve goes before what does, and the youngest first', () => {
  for (let size = 1; size <= 4; size += 1)
    for (const of of fleets(size))
      for (let wanted = 0; wanted <= size; wanted += 1) {
        const replicas = fleet(of)
        const away = gone(planFor(replicas, wanted))
        const told = `${of} to ${wanted}: ${away}`
        assert.equal(away.length, size - wanted, told)
        const useful = (id: string) => kinds.indexOf(of[Number(id.slice(4))]!)
        for (const { id } of replicas.filter((replica) => !away.includes(replica.id)))
          for (const other of away) {
            assert(useful(other) <= useful(id), `${told}: ${other} before ${id}`)
            if (useful(other) === useful(id)) assert(other < id, `${told}: ${other} is younger than ${id}`)
          }
      }
})

test('what served until now finishes what it has; what never served goes at once', () => {
  const { actions } = planFor(fleet(['starting', 'ready']), 0)
  const phases = actions.flatMap((a) => (a.do === 'update' ? [[a.replicaId, a.patch.phase]] : []))
  assert.deepEqual(phases.sort(), [
    ['rep_0', 'deleting'],
    ['rep_1', 'draining'],
  ])
})

test('no hardware, and starts that are refused: what serves is left alone, whatever is missing', () => {
  const none: Offer[] = []
  const full: Offer[] = [{ ...placement, totalUnits: 8, freeUnits: 0 }]
  for (let size = 1; size <= 4; size += 1)
    for (const of of fleets(size).filter((one) => one.includes('ready')))
      for (const offers of [none, full])
        for (const failed of [0, 1, 4, 5, 50]) {
          const result = planFor(fleet(of), 6, { offers }, failed)
          assert.deepEqual(gone(result), [], `${of}, ${failed} failed`)
          assert.notEqual(result.phase, 'failed')
          assert.ok(result.readyReplicas > 0)
          assert.notEqual(result.reason, null, 'it says what is missing')
        }
})

test('draining and wanted again: it serves at once, also when nothing is left on it', () => {
  for (const drained of [false, true]) {
    const [replica] = fleet(['ready'])
    const { actions } = planFor([{ ...replica!, phase: 'draining', drainAt: now - 5, drained }], 1)
    assert.deepEqual(actions, [{ do: 'update', replicaId: 'rep_0', patch: { phase: 'ready', drainAt: null } }])
  }
})
