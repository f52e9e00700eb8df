/** The steps of autoscaler and reconciler on a deployment that goes to sleep: what they read, decide and write. */
import { strict as assert } from 'node:assert'
import { Demands } from '../../src/autoscaling/demands.ts'
import { defaultDecideSettings } from '../../src/autoscaling/state.ts'
import type { Observation, Offer } from '../../src/compute/contract.ts'
import { sameRoute } from '../../src/deployments/publish.ts'
import type { ReplicaPatch, ReplicaView } from '../../src/deployments/replica.ts'
import { noStarts, type PlanInput, type Wish } from '../../src/deployments/situation.ts'
import { reasonOf } from '../../src/kernel/phase.ts'
import type { Rules } from './rules.ts'
import { deploymentId } from './sleep-gateway.ts'
import { newRow, placement, policyOf, type State, type Turn } from './sleep-state.ts'
import type { Row } from './tables.ts'
import { settings } from './world.ts'

const born = new Date(0)
const served = { modelId: 'model', engine: 'llamacpp' as const }

/** It brings together what the gateways say, and decides. */
export function autoscalerLooks(state: State, rules: Rules): State {
  const { now, register, rows, desiredReplicas, readyReplicas, stored, scenario } = state
  const { complete, fresh } = rules.heard(register, now)
  const replicas = rows.filter(({ phase }) => phase === 'ready' || phase === 'draining').map(({ id }) => id)
  const asks = [{ id: deploymentId, replica_ids: replicas }]
  // Its counters as they were when it heard the last ones.
  const demands = new Demands()
  demands.gather(state.heard, asks)
  const asked = rules.gather(demands, fresh, asks).get(deploymentId)!
  const row = { desired_replicas: desiredReplicas, ready_replicas: readyReplicas, autoscaler: stored }
  const memory = { ...rules.recall(state.memory, row, now) }
  if (fresh.length > 0) memory.window = rules.addSample(memory.window, rules.sampleOf(row, asked, complete, now))
  const decision = rules.decide({
    window: memory.window,
    policy: policyOf(scenario),
    state: memory.state,
    sla: { ttftTargetMs: null },
    capacityPerReplica: 4,
    now,
    settings: defaultDecideSettings,
  })
  const heard = [...state.heard.filter(({ id }) => !fresh.some((one) => one.id === id)), ...fresh]
  if (decision.desired === desiredReplicas)
    return { ...state, heard, memory: { ...memory, state: decision.state }, stored: decision.state }
  return { ...state, heard, memory, decided: { seen: desiredReplicas, decision } }
}

/** Unless somebody else has changed the number since. */
export function autoscalerWrites(state: State): State {
  const { desired, state: stored } = state.decided!.decision
  const memory = state.memory && { ...state.memory, state: stored }
  const written = { ...state, decided: null, memory }
  if (state.desiredReplicas !== state.decided!.seen) return written
  return { ...withDesired(written, desired), stored }
}

/** The number, and the phase that follows at once. */
export function withDesired(state: State, desiredReplicas: number): State {
  if (desiredReplicas > 0 && state.desiredReplicas > 0) return { ...state, desiredReplicas }
  const phase = desiredReplicas === 0 ? 'asleep' : 'waking'
  return { ...state, desiredReplicas, phase, reason: reasonOf(phase, new Date(state.now)) }
}

/** It loads, asks provider and engines, and decides. */
export function reconcilerLooks(state: State, rules: Rules): State {
  const input = load(state, rules)
  const result = rules.plan(input)
  const { actions, phase, readyReplicas, reason } = result
  const same = phase === state.phase && readyReplicas === state.readyReplicas && reason?.code === state.reason?.code
  const marked = state.rows.every((row) => row.phase !== 'draining' || row.drainVersion !== null)
  if (actions.length === 0 && same && marked) return state
  return { ...state, turn: { next: 'record', wish: wishOf(state), input, result, calls: [], started: [] } }
}

export function reconcilerRecords(state: State, rules: Rules): State {
  const { wish, result } = state.turn!
  if (!rules.sameWish(wish, wishOf(state))) return { ...state, turn: null }
  const { phase, reason, readyReplicas } = result
  let rows = [...state.rows]
  let { made } = state
  const planned: string[] = []
  for (const action of result.actions) {
    if (action.do === 'update')
      rows = rows.map((row) => (row.id === action.replicaId ? patched(row, action.patch, state.turn!, rules) : row))
    if (action.do !== 'plan_replica') continue
    made += 1
    rows.push(newRow(`rep_${made}`, action.after, state.now))
    if (action.after === null) planned.push(`rep_${made}`)
  }
  const calls: Turn['calls'] = [
    ...planned.map((replicaId) => ({ do: 'create' as const, replicaId })),
    ...result.actions.filter((action) => action.do === 'create' || action.do === 'delete'),
  ]
  const away = rows.filter((row) => row.drainedAway && !state.drainedAway.includes(row.id)).map(({ id }) => id)
  const drainedAway = [...state.drainedAway, ...away]
  const live = rows.filter((row) => row.phase !== 'gone')
  const turn: Turn | null = calls.length === 0 ? null : { ...state.turn!, next: 'act', calls }
  return published({ ...state, phase, reason, readyReplicas, rows: live, made, drainedAway, turn }, rules)
}

function patched(row: Row, change: ReplicaPatch, { input }: Turn, rules: Rules): Row {
  const { endedAt, address: _address, port: _port, ...patch } = change
  const after: Row = { ...row, ...patch }
  if (patch.drainAt === null) after.drainVersion = rules.drainVersionCalledOff(row.drainVersion)
  if (endedAt !== undefined) after.endedAt = Math.min(row.endedAt ?? endedAt, endedAt)
  const view = input.replicas.find(({ id }) => id === row.id)!
  if (row.phase === 'draining' && patch.phase === 'deleting' && !patch.exit) after.drainedAway = view.drained
  return after
}

function published(state: State, rules: Rules): State {
  const made = routeOf(state, rules)
  const route = sameRoute(state.route, made) ? state.route : { ...made, version: state.route.version + 1 }
  const rows = state.rows.map((row) =>
    row.phase === 'draining' && row.drainVersion === null ? { ...row, drainVersion: route.version } : row,
  )
  return { ...state, route, rows }
}

function routeOf({ phase, reason, rows }: State, rules: Rules) {
  return rules.makeRoute({
    deployment: {
      id: deploymentId,
      orgId: 'org',
      name: 'mine',
      modelId: 'model',
      emulated: false,
      servedBy: null,
      createdAt: born,
      desired: 'running',
    },
    engine: 'llamacpp',
    contextTokens: 0,
    phase,
    reason,
    replicas: rows.map((row) => {
      const silent = row.unhealthySince !== null
      return { id: row.id, phase: row.phase, silent, address: row.id, port: 80, key: '', weight: 100, ...served }
    }),
  })
}

/** One call to the provider. */
export function reconcilerActs(state: State): State {
  const { calls, started } = state.turn!
  const [call, ...others] = calls
  // Where nothing was started there is nothing to apply.
  const over = others.length === 0 && call!.do === 'delete' && started.length === 0
  const rest: Turn = { ...state.turn!, next: others.length === 0 ? 'apply' : 'act', calls: others }
  const turn = over ? null : rest
  const row = state.rows.find(({ id }) => id === call!.replicaId)
  const machines = { ...state.machines }
  if (row === undefined) return { ...state, turn }
  if (call!.do === 'delete') {
    if (row.drainedAway) assertUnused(state, row.id)
    delete machines[row.id]
    return { ...state, turn, machines }
  }
  if (row.phase !== 'planned') return { ...state, turn }
  machines[row.id] ??= 'booting'
  return { ...state, machines, turn: { ...rest, started: [...started, row.id] } }
}

function assertUnused({ gateways }: State, replica: string): void {
  for (const [id, { alive, view }] of Object.entries(gateways))
    for (const [request, where] of Object.entries(view.requests))
      assert(!alive || where !== `with ${replica}`, `${replica} is removed as drained with ${request} of ${id} on it`)
}

export function reconcilerApplies(state: State): State {
  const { started } = state.turn!
  const rows = state.rows.map((row): Row => {
    return started.includes(row.id) && row.phase === 'planned'
      ? { ...row, phase: 'starting', startedAt: state.now }
      : row
  })
  return { ...state, rows, turn: null }
}

function wishOf({ desiredReplicas }: State): Wish {
  return { desired: 'running', desiredReplicas, revision: 1, stoppedBy: null, starts: noStarts }
}

function load(state: State, rules: Rules): PlanInput {
  const { now, desiredReplicas, phase, reason, rows } = state
  const hardware = [{ gpuType: placement.gpuType, gpuCount: 1, region: null }]
  return {
    deployment: { id: deploymentId, desired: 'running', desiredReplicas, phase, reason, starts: noStarts },
    revisions: [{ id: 'rev_1', number: 1, hardware, failed: false, proven: true }],
    replicas: rows.map((row) => viewOf(state, row, rules)),
    offers: [offer],
    now,
    settings,
  }
}

const offer: Offer = { ...placement, totalUnits: 8, freeUnits: 8 }

function viewOf({ machines, register, now }: State, row: Row, rules: Rules): ReplicaView {
  const machine = machines[row.id]
  const drained =
    row.phase === 'draining' && row.drainVersion !== null && rules.isDrained(register, row.id, row.drainVersion, now)
  if (row.phase === 'planned') return { ...row, seen: null, probe: null, drained }
  if (machine === 'booting' || machine === 'up') {
    const seen: Observation = { state: 'running', address: row.id, port: 80, startedAt: row.createdAt }
    const loading = { state: 'not_ready', phase: 'load', detail: '' } as const
    return { ...row, seen, probe: machine === 'up' ? { state: 'ready' } : loading, drained }
  }
  const exit = { at: now, code: 1, signal: null, lastLines: ['boom'], why: 'It ended.' }
  const seen: Observation = machine === 'dead' ? { state: 'exited', exit } : { state: 'not_found' }
  return { ...row, seen, probe: null, drained }
}
