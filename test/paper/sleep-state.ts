/** The state of a deployment that goes to sleep, with everybody who has a hand in it. Never written into. */
import type { Memory } from '../../src/autoscaling/memory.ts'
import { type Decision, firstState } from '../../src/autoscaling/state.ts'
import { demandOf, hadDemand } from '../../src/autoscaling/window.ts'
import type { Plan } from '../../src/deployments/plan.ts'
import type { Route } from '../../src/deployments/routes.ts'
import { defaultScaling, type ScalingPolicy } from '../../src/deployments/scaling.ts'
import type { PlanInput, Wish } from '../../src/deployments/situation.ts'
import type { Phase, Reason } from '../../src/kernel/phase.ts'
import type { Demand } from '../../src/usage/demand.ts'
import { deploymentId, type Happening, noView, type View } from './sleep-gateway.ts'
import { plannedRow, type Registered, type Row } from './tables.ts'

export interface Scenario {
  gateways: string[]
  /** One that died long ago and is still in the register. */
  lost?: string
  /** Gateways also say again what they have said already, as a sign of life: many more orders. */
  signsOfLife?: boolean
  /** What a gateway says is written as soon as it is made: fewer orders. */
  prompt?: boolean
  /** Gateways that are the same but for their names count as one another: half as many states. */
  alike?: boolean
  /** By request: the gateway at which it arrives, at any moment. */
  requests: Record<string, string>
  /** How often a person tells it to sleep, at any moment; 0: it has been quiet for long enough already. */
  told: 0 | 1 | 2
  /** What else may happen, once, at any moment. */
  mishaps: Mishap[]
}

export type Mishap = 'control dies' | 'the autoscaler dies' | 'the replica dies' | 'gw_b dies' | typeof standStill
export const standStill = 'all stand still for 5 s'
export const toldToSleep = 'told to sleep'
export const toldAgain = 'told to sleep again'

export interface State {
  scenario: Scenario
  now: number
  /** What may yet happen: requests that have not arrived, a person's word, mishaps. */
  left: readonly string[]
  /** A person told it to sleep, and nobody had to wait since. */
  told: boolean

  /** The database. */
  desiredReplicas: number
  phase: Phase
  reason: Reason | null
  readyReplicas: number
  stored: object
  rows: readonly Row[]
  /** Replicas ever planned, and those that were removed because nobody used them. */
  made: number
  drainedAway: readonly string[]
  route: Route
  register: readonly Registered[]

  machines: Readonly<Record<string, 'booting' | 'up' | 'dead'>>
  gateways: Readonly<Record<string, Gateway>>

  /** What the autoscaler remembers, what it heard last, and what it is about to write. */
  memory: Memory | null
  heard: readonly Registered[]
  decided: { seen: number; decision: Decision } | null

  turn: Turn | null
}

export interface Gateway {
  alive: boolean
  /** Everything that happened to it so far. */
  story: readonly Happening[]
  view: View
  /** The version up to which it knows the routes. */
  applied: number
  /** What it is about to write into the register. */
  saying: Registered | null
}

/** A turn of the reconciler under way. */
export interface Turn {
  next: 'record' | 'act' | 'apply'
  wish: Wish
  input: PlanInput
  result: Plan
  calls: readonly { do: 'create' | 'delete'; replicaId: string }[]
  started: readonly string[]
}

const start = Date.UTC(2026, 5, 1)
const idleSeconds = 60
export const placement = { provider: 'paper', gpuType: 'h100', gpuCount: 1, region: 'nyc2', emulated: false }

/** Told to sleep, it is one that would not sleep by itself. */
export function policyOf({ told }: Scenario): ScalingPolicy {
  return { ...defaultScaling, maxReplicas: 1, minReplicas: told > 0 ? 1 : 0, idleTimeoutSeconds: idleSeconds }
}

/** One replica serves and nobody asks. The gateways know nothing yet. */
export function firstOf(scenario: Scenario): State {
  const quietSince = start - (idleSeconds + 1) * 1000
  const state = { ...firstState(1), readySince: quietSince }
  // The last quiet sample but one: with the next, it has been quiet for long enough.
  const quiet = { inFlight: 0, held: 0, rejected: 0, ready: 1, pending: 0, ttftMsP90: null, arrivals: 0 }
  const gateway: Gateway = { alive: true, story: [], view: noView, applied: 0, saying: null }
  return {
    scenario,
    now: start,
    left: [...Object.keys(scenario.requests), ...[toldToSleep, toldAgain].slice(0, scenario.told), ...scenario.mishaps],
    told: false,
    desiredReplicas: 1,
    phase: 'serving',
    reason: null,
    readyReplicas: 1,
    stored: state,
    rows: [{ ...newRow('rep_1', null, start), phase: 'ready', startedAt: start, readyAt: start }],
    made: 1,
    drainedAway: [],
    route: routeTo('rep_1'),
    register: scenario.lost === undefined ? [] : [lostOne(scenario.lost)],
    machines: { rep_1: 'up' },
    gateways: Object.fromEntries(scenario.gateways.map((id) => [id, gateway])),
    memory: { window: { samples: [{ at: start - 1000, ...quiet }], quietSince }, state },
    heard: [],
    decided: null,
    turn: null,
  }
}

function lostOne(id: string): Registered {
  const seenAt = new Date(start - 3_600_000)
  return { id, keyringVersion: 0, routesVersion: 1, inFlight: {}, demand: {}, seenAt }
}

export function newRow(id: string, after: string | null, at: number): Row {
  return plannedRow({ id, deploymentId, revisionId: 'rev_1', placement, after, createdAt: at })
}

function routeTo(replica: string): Route {
  return {
    deploymentId,
    orgId: 'org',
    name: 'mine',
    modelId: 'model',
    servedName: 'model',
    engine: 'llamacpp',
    phase: 'serving',
    reason: null,
    replicas: [{ id: replica, address: replica, port: 80, key: '', state: 'ready', weight: 100 }],
    contextTokens: 0,
    emulated: false,
    servedBy: null,
    created: 0,
    removed: false,
    version: 1,
  }
}

/**
 * Equal for states from which everything goes on in the same way. Times are in it only as what they are compared with,
 * counters as whether something is new to the next who reads them, requests and gateways without their names.
 */
export function keyOf(state: State): string {
  const { scenario, told, desiredReplicas, phase, readyReplicas, rows, made, route, machines, decided, turn } = state
  const gateways = scenario.gateways.map((id) => gatewayKey(state, id))
  return [
    state.left.filter((name) => !(name in scenario.requests)),
    [told, desiredReplicas, phase, readyReplicas, made, Object.entries(machines)],
    rows.map((row) => [row.id, row.phase, row.drainVersion, row.unhealthySince !== null, row.exit !== null]),
    [route.version, route.phase, route.replicas.map((replica) => replica.id + replica.state)],
    scenario.alike ? gateways.sort() : gateways,
    memoryKey(state),
    decided && [decided.seen, decided.decision.desired],
    turn && [turn.next, turn.wish.desiredReplicas, turn.result.phase, turn.result.actions.map(short)],
    turn?.calls.map((call) => call.do + call.replicaId),
  ].join(' | ')
}

interface Known {
  written: Registered | undefined
  heard: Registered | undefined
  /** Requests that have not arrived there yet. */
  left: number
  key: string
}
/** Most steps leave most gateways as they are. */
const keys = new WeakMap<Gateway, Known>()

function gatewayKey(state: State, id: string): string {
  const gateway = state.gateways[id]!
  const written = state.register.find((one) => one.id === id)
  const heard = state.heard.find((one) => one.id === id)
  const left = state.left.filter((name) => state.scenario.requests[name] === id).length
  const before = keys.get(gateway)
  const same = before && before.written === written && before.heard === heard && before.left === left
  // With time standing still and jumping, reports grow old by themselves.
  if (same && !state.scenario.mishaps.includes(standStill)) return before.key
  const key = makeGatewayKey(state, gateway, { written, heard, left })
  keys.set(gateway, { written, heard, left, key })
  return key
}

function makeGatewayKey(state: State, gateway: Gateway, { written, heard: known, left }: Omit<Known, 'key'>): string {
  const { alive, applied, view, saying } = gateway
  const ended = Object.values(view.requests).filter((where) => typeof where === 'number').length
  const requests = Object.values(view.requests).sort()
  return [
    [alive, applied, left, requests, view.ejected],
    [saidKey(state, saying), saying ? ended > endedIn(saying) : ended > endedIn(written)],
    [saidKey(state, written), endedIn(written) > endedIn(known), saying && endedIn(saying) > endedIn(known)],
  ].join(' / ')
}

function saidKey({ now }: State, one: Registered | null | undefined): unknown {
  if (!one) return null
  const held = (one.demand[deploymentId] as Demand | undefined)?.held ?? 0
  return [one.routesVersion, Object.entries(one.inFlight), held, now - one.seenAt.getTime() <= 3_000]
}

function endedIn(one: Registered | null | undefined): number {
  return (one?.demand[deploymentId] as Demand | undefined)?.arrivals ?? 0
}

function memoryKey({ memory, now, stored, scenario }: State): unknown {
  if (memory === null) return [null, (stored as { sleepAsked?: boolean }).sleepAsked]
  const { window, state } = memory
  const last = window.samples.at(-1)
  const asked = window.samples.some((one) => one.at > (state.changedAt ?? -1) && hadDemand(one))
  const quiet = window.quietSince !== null && now - window.quietSince >= idleSeconds * 1000
  // The next look has a sample of its own, unless no report is fresh by then.
  const old = scenario.mishaps.includes(standStill) && last ? [demandOf(last), last.held, now - last.at <= 4_000] : null
  return [state.desired, state.sleepAsked, state.readySince !== null, quiet, asked, old]
}

function short(action: Turn['result']['actions'][number]): unknown {
  switch (action.do) {
    case 'update':
      return [action.replicaId, action.patch.phase, action.patch.drainAt !== undefined]
    case 'create':
    case 'delete':
      return [action.do, action.replicaId]
    case 'plan_replica':
    case 'fail_revision':
      return action.do
  }
}
