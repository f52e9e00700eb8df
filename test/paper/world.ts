/**
 * The paper world: deployments, replica rows, a provider with machines, and the loop protocol (load → plan → record →
 * act → apply) that may die between any two steps. No promises, no clock, no database: thousands of steps a second.
 */
import type { Observation, Offer, Placement } from '../../src/compute/contract.ts'
import type { plan as realPlan } from '../../src/deployments/plan.ts'
import { isLost, isStaying, type ReplicaView } from '../../src/deployments/replica.ts'
import { noStarts, type PlanSettings, type Starts } from '../../src/deployments/situation.ts'
import { callsForTurn } from '../../src/deployments/watch.ts'
import type { Readiness } from '../../src/engines/contract.ts'
import type { Phase, Reason } from '../../src/kernel/phase.ts'
import { Random } from './random.ts'

export interface Row extends Omit<ReplicaView, 'seen' | 'probe' | 'drained'> {
  deploymentId: string
  goneAt: number | null
}
export interface Machine {
  id: string
  units: number
  bornAt: number
  state: 'booting' | 'up' | 'dead'
  diedAt: number | null
  answers: boolean
}
export interface Deployment {
  id: string
  desired: 'running' | 'stopped' | 'deleted'
  desiredReplicas: number
  phase: Phase
  reason: Reason | null
  starts: Starts
  revisions: {
    id: string
    number: number
    hardware: { gpuType: string; gpuCount: number; region: null }[]
    failed: boolean
    proven: boolean
    bad: boolean
    /** Made while the deployment was given up. */
    late: boolean
  }[]
  wakeAt: number | null
  ready: number
  why: string[]
  /** The last turn wanted more replicas than the deployment does. */
  overshoot: boolean
  /** The last turn took a serving replica away although fewer than wanted were left. */
  gap: boolean
  /** The last turn gave up although a replica served. */
  struck: boolean
  /** The last turn let one go that answers no more, with nothing in its place. */
  hasty: boolean
}

export const settings: PlanSettings = {
  startDeadlineMs: 60_000,
  brakeAfter: 5,
  rollbackAfter: 2,
  backoffMs: 2_000,
  backoffMaximumMs: 60_000,
  unresponsiveMs: 30_000,
  drainDeadlineMs: 120_000,
}

export class World {
  now = 1_800_000_000_000
  readonly deployments: Deployment[] = []
  readonly rows = new Map<string, Row>()
  /** Everything the provider ever ran; dead ones stay listed until deleted. */
  readonly machines = new Map<string, Machine>()
  readonly random: Random
  readonly plan: typeof realPlan
  totalUnits = 6
  providerUp = true
  /** Share of boots and lives that go wrong. */
  faults = true
  trace: string[] = []
  #count = 0

  constructor(seed: number, plan: typeof realPlan) {
    this.random = new Random(seed)
    this.plan = plan
  }

  id(prefix: string): string {
    this.#count += 1
    return `${prefix}_${this.#count}`
  }

  addDeployment(): Deployment {
    const deployment: Deployment = {
      id: this.id('dep'),
      desired: 'running',
      desiredReplicas: this.random.int(1, 3),
      phase: 'queued',
      reason: null,
      starts: noStarts,
      revisions: [],
      wakeAt: this.now,
      ready: 0,
      why: [],
      overshoot: false,
      gap: false,
      struck: false,
      hasty: false,
    }
    this.addRevision(deployment, this.random.chance(0.15))
    this.deployments.push(deployment)
    return deployment
  }

  /** A changed spec. A bad one never becomes ready. */
  addRevision(deployment: Deployment, bad: boolean): void {
    const hardware = [{ gpuType: 'h100', gpuCount: this.random.int(1, 2), region: null }]
    const number = (deployment.revisions[0]?.number ?? 0) + 1
    const late = deployment.phase === 'failed'
    const revision = { id: this.id('rev'), number, hardware, failed: false, proven: false, bad, late }
    deployment.revisions = [revision, ...deployment.revisions]
    if (deployment.phase !== 'failed') deployment.starts = noStarts
    deployment.wakeAt = this.now
  }

  isBad(row: Row): boolean {
    const deployment = this.deployments.find((d) => d.id === row.deploymentId)!
    return deployment.revisions.find((r) => r.id === row.revisionId)!.bad
  }

  /** Its time has come, or the watcher asks for a turn. */
  isDue(deployment: Deployment): boolean {
    if (deployment.wakeAt !== null && deployment.wakeAt <= this.now) return true
    return this.live(deployment).some((row) => callsForTurn(this.view(row), this.now, settings))
  }

  /** It answers no more; its successor may be on its way. */
  isLost(row: Row): boolean {
    return isLost(row, this.now, settings)
  }

  live(deployment: Deployment): Row[] {
    return [...this.rows.values()].filter((row) => row.deploymentId === deployment.id && row.phase !== 'gone')
  }

  usedUnits(): number {
    return [...this.machines.values()].filter((m) => m.state !== 'dead').reduce((sum, m) => sum + m.units, 0)
  }

  /** What rows hold: a successor and the replica whose place it takes hold it once. */
  heldUnits(): number {
    const rows = [...this.rows.values()].filter((row) => row.phase !== 'gone')
    const held = rows.filter((row) => row.after === null || this.rows.get(row.after)?.phase === 'gone')
    return held.reduce((sum, row) => sum + row.placement.gpuCount, 0)
  }

  /** One turn of the loop for one deployment; `dieAfter` = step after which the process is killed. */
  turn(deployment: Deployment, dieAfter: 'record' | 'act' | null): void {
    const rows = this.live(deployment)
    const input = {
      deployment: { ...deployment },
      revisions: deployment.revisions,
      replicas: rows.map((row) => this.view(row)),
      offers: this.offers(),
      now: this.now,
      settings,
    }
    const result = this.plan(input)
    const before = rows.filter(isStaying).length
    const lost = new Set(rows.filter((row) => this.isLost(row)).map(({ id }) => id))
    const created: Row[] = []
    for (const action of result.actions) {
      if (action.do === 'update') {
        const row = Object.assign(this.rows.get(action.replicaId)!, action.patch)
        if (action.patch.readyAt !== undefined) deployment.revisions.find((r) => r.id === row.revisionId)!.proven = true
      }
      if (action.do === 'plan_replica')
        created.push(this.addRow(deployment, action.revisionId, action.placement, action.after))
      if (action.do === 'fail_revision') deployment.revisions.find((r) => r.id === action.revisionId)!.failed = true
    }
    const { phase, reason, starts, wakeAt, why } = result
    Object.assign(deployment, {
      phase,
      reason,
      starts,
      wakeAt: created.length > 0 ? this.now : wakeAt,
      why,
      ready: result.readyReplicas,
    })
    const staying = this.live(deployment).filter(isStaying)
    const rolling = new Set(staying.map((row) => row.revisionId)).size > 1 ? 1 : 0
    const spare = staying.filter((row) => this.isLost(row)).length
    deployment.overshoot = staying.length > Math.max(before, deployment.desiredReplicas + rolling + spare)
    const drains = result.actions.some((a) => a.do === 'update' && a.patch.phase === 'draining')
    const inPlace = created.some((row) => row.after !== null)
    const wanted = deployment.desired === 'running' && phase !== 'failed' ? deployment.desiredReplicas : 0
    deployment.gap = drains && !inPlace && staying.filter((row) => row.phase === 'ready').length < wanted
    const answers = (row: Row) => row.phase === 'ready' && this.machines.get(row.id)?.answers === true
    const kept = rows.filter((row) => answers(row) && !this.isLost(row))
    deployment.struck = phase === 'failed' && kept.length > 0
    const silent = result.actions.filter(
      (a) =>
        a.do === 'update' &&
        a.patch.phase === 'deleting' &&
        lost.has(a.replicaId) &&
        this.machines.get(a.replicaId)?.state === 'up',
    )
    deployment.hasty = wanted > 0 && silent.length > 0 && kept.length + created.length === 0
    if (dieAfter === 'record') {
      this.restart(deployment)
      return
    }
    const acknowledged: Row[] = []
    for (const row of created) if (row.after === null && this.providerCreate(row)) acknowledged.push(row)
    for (const action of result.actions) {
      if (action.do === 'create' && this.providerCreate(this.rows.get(action.replicaId)!))
        acknowledged.push(this.rows.get(action.replicaId)!)
      if (action.do === 'delete') this.providerDelete(action.replicaId)
    }
    if (dieAfter === 'act') {
      this.restart(deployment)
      return
    }
    for (const row of acknowledged)
      if (row.phase === 'planned') Object.assign(row, { phase: 'starting', startedAt: this.now })
  }

  /** After a death the next process looks at everything once. */
  restart(deployment: Deployment): void {
    deployment.wakeAt = this.now
  }

  addRow(deployment: Deployment, revisionId: string, placement: Placement, after: string | null): Row {
    const row: Row = {
      id: this.id('rep'),
      deploymentId: deployment.id,
      revisionId,
      phase: 'planned',
      placement,
      after,
      createdAt: this.now,
      startedAt: null,
      readyAt: null,
      drainAt: null,
      endedAt: null,
      unhealthySince: null,
      startPhases: {},
      exit: null,
      goneAt: null,
    }
    this.rows.set(row.id, row)
    return row
  }

  /** True when the provider acknowledged. Idempotent by id; the reply may be lost. */
  providerCreate(row: Row): boolean {
    if (!this.providerUp) return false
    const known = this.machines.get(row.id)
    if (!known) {
      if (this.usedUnits() + row.placement.gpuCount > this.totalUnits) {
        Object.assign(row, { phase: 'gone', goneAt: this.now, endedAt: this.now })
        return false
      }
      const machine: Machine = {
        id: row.id,
        units: row.placement.gpuCount,
        bornAt: this.now,
        state: 'booting',
        diedAt: null,
        answers: false,
      }
      this.machines.set(row.id, machine)
    }
    return !(this.faults && this.random.chance(0.1))
  }

  providerDelete(id: string): void {
    if (!this.providerUp) return
    const machine = this.machines.get(id)
    if (!machine) return
    this.kill(machine)
    if (!this.faults || this.random.chance(0.7)) this.machines.delete(id)
  }

  kill(machine: Machine): void {
    if (machine.state === 'dead') return
    Object.assign(machine, { state: 'dead', diedAt: this.now, answers: false })
  }

  view(row: Row): ReplicaView {
    const machine = this.machines.get(row.id)
    return { ...row, seen: this.observe(machine), probe: this.probe(machine), drained: this.random.chance(0.5) }
  }

  observe(machine: Machine | undefined): Observation | null {
    if (!this.providerUp) return null
    if (!machine) return { state: 'not_found' }
    if (machine.state === 'dead')
      return {
        state: 'exited',
        exit: { at: machine.diedAt!, code: 1, signal: null, lastLines: ['boom'], why: 'It ended with status 1.' },
      }
    return { state: 'running', address: '127.0.0.1', port: 1, startedAt: machine.bornAt }
  }

  probe(machine: Machine | undefined): Readiness | null {
    if (!machine || machine.state === 'dead') return { state: 'not_ready', phase: 'load', detail: 'refused' }
    return machine.answers ? { state: 'ready' } : { state: 'not_ready', phase: 'load', detail: 'loading' }
  }

  offers(): Offer[] {
    const freeUnits = Math.max(0, this.totalUnits - Math.max(this.usedUnits(), this.heldUnits()))
    return [
      { provider: 'paper', gpuType: 'h100', region: 'nyc2', totalUnits: this.totalUnits, freeUnits, emulated: false },
    ]
  }
}
