/** Who can do what next while a deployment goes to sleep, and what must never be. */
import { strict as assert } from 'node:assert'
import type { Demand } from '../../src/usage/demand.ts'
import type { Model, Step } from './explore.ts'
import type { Rules } from './rules.ts'
import {
  autoscalerLooks,
  autoscalerWrites,
  reconcilerActs,
  reconcilerApplies,
  reconcilerLooks,
  reconcilerRecords,
  withDesired,
} from './sleep-control.ts'
import { afterAll, deploymentId, goOn, type Happening } from './sleep-gateway.ts'
import {
  firstOf,
  type Gateway,
  keyOf,
  type Mishap,
  type Scenario,
  type State,
  standStill,
  toldAgain,
  toldToSleep,
} from './sleep-state.ts'

export async function sleepModel(scenario: Scenario, rules: Rules): Promise<Model<State>> {
  let first = firstOf(scenario)
  for (const id of scenario.gateways) first = gatewaySays(await gatewayLooks(first, id), id, rules)
  return { first: { ...first, heard: first.register }, steps: (state) => stepsOf(state, rules), key: keyOf }
}

type Take = () => State | Promise<State>

function stepsOf(state: State, rules: Rules): Step<State>[] {
  const later = { ...state, now: state.now + 1 }
  const takes: [name: string, take: Take][] = [
    ...Object.keys(state.gateways).flatMap((id) => gatewaySteps(later, id, rules)),
    autoscalerStep(later, rules),
    reconcilerStep(later, rules),
    ...Object.entries(state.machines)
      .filter(([, machine]) => machine === 'booting')
      .map(([id]): [string, Take] => [`${id} is loaded`, () => withMachine(later, id, 'up')]),
  ]
  const checked = (take: Take) => async () => check(state, await take())
  // Said again only after it was said.
  const may = state.left.filter((name) => name !== toldAgain || !state.left.includes(toldToSleep))
  return [
    ...takes.map(([name, take]) => ({ name, sure: true, take: checked(take) })),
    ...may.map((name) => ({ name, sure: false, take: checked(() => mayHappen(later, name)) })),
  ]
}

function gatewaySteps(state: State, id: string, rules: Rules): [string, Take][] {
  const { alive, saying, view } = state.gateways[id]!
  if (!alive) return []
  const look = async () => {
    const after = await gatewayLooks(state, id)
    return state.scenario.prompt ? gatewaySays(after, id, rules) : after
  }
  const talk: [string, Take] =
    saying === null ? [`${id} looks`, look] : [`${id} says what it sees`, () => gatewaySays(state, id, rules)]
  const served = Object.entries(view.requests).filter(
    ([, where]) => replicaOf(where) !== null && state.machines[replicaOf(where)!] === 'up',
  )
  return [
    talk,
    // Which of them it is makes no difference.
    ...served
      .slice(0, 1)
      .map(([request]): [string, Take] => [
        `a request at ${id} has its answer`,
        () => happen(state, id, { do: 'answer', request }),
      ]),
  ]
}

function autoscalerStep(state: State, rules: Rules): [string, Take] {
  return state.decided === null
    ? ['the autoscaler looks', () => autoscalerLooks(state, rules)]
    : ['the autoscaler writes', () => autoscalerWrites(state)]
}

function reconcilerStep(state: State, rules: Rules): [string, Take] {
  switch (state.turn?.next) {
    case undefined:
      return ['the reconciler looks', () => reconcilerLooks(state, rules)]
    case 'record':
      return ['the reconciler records', () => reconcilerRecords(state, rules)]
    case 'act':
      return ['the reconciler acts', () => reconcilerActs(state)]
    case 'apply':
      return ['the reconciler applies', () => reconcilerApplies(state)]
  }
}

/** It reads what is newer, applies it, and makes its report. */
async function gatewayLooks(state: State, id: string): Promise<State> {
  const { applied, view } = state.gateways[id]!
  const { version } = state.route
  const news = version > applied ? [state.route] : []
  // By its own clock a second has passed, or time has jumped: then it says also what it has said before.
  const at = state.scenario.signsOfLife
    ? 1_000 * (state.gateways[id]!.story.length + 1)
    : state.now - (state.now % 1_000)
  const after = await happen(state, id, { do: 'look', news, version, at })
  const said = after.gateways[id]!.view
  const saying = said.reports > view.reports ? { ...said.report!, seenAt: new Date(state.now) } : null
  if (news.length === 0 && saying === null) return state
  return withGateway(after, id, { applied: version, saying })
}

function gatewaySays(state: State, id: string, rules: Rules): State {
  const { saying } = state.gateways[id]!
  if (saying === null) return state
  const said = { ...saying, ...rules.said(saying, state.route.version) }
  const register = [...state.register.filter((one) => one.id !== id), said].sort((a, b) => (a.id < b.id ? -1 : 1))
  return withGateway({ ...state, register }, id, { saying: null })
}

type WithoutUp<T> = T extends unknown ? Omit<T, 'up'> : never

/** Something happens to a gateway: it is what it was, with one thing more. */
async function happen(state: State, id: string, one: WithoutUp<Happening>): Promise<State> {
  const up = Object.keys(state.machines).filter((replica) => state.machines[replica] === 'up')
  const story = goOn(state.gateways[id]!.story, { ...one, up } as Happening)
  return withGateway(state, id, { story, view: await afterAll(id, story) })
}

async function mayHappen(later: State, name: string): Promise<State> {
  const state = { ...later, left: later.left.filter((one) => one !== name) }
  const at = state.scenario.requests[name]
  if (at !== undefined) return arrive(state, at, name)
  switch (name as Mishap | typeof toldToSleep | typeof toldAgain) {
    case toldToSleep:
    case toldAgain:
      return { ...withDesired(state, 0), told: !someWait(state) && !isSaidToWait(state) }
    case 'control dies':
      return { ...state, turn: null }
    case 'the autoscaler dies':
      return { ...state, memory: null, heard: [], decided: null }
    case 'gw_b dies':
      return withGateway(state, 'gw_b', { alive: false, saying: null })
    case standStill:
      return { ...state, now: state.now + 5_000 }
    case 'the replica dies':
      return replicaDies(state)
  }
}

async function arrive(state: State, id: string, request: string): Promise<State> {
  if (!state.gateways[id]!.alive) return state
  const after = await happen(state, id, { do: 'arrive', request })
  return { ...after, told: state.told && !someWait(after) }
}

async function replicaDies(state: State): Promise<State> {
  if (state.machines.rep_1 === undefined) return state
  let after: State = withMachine(state, 'rep_1', 'dead')
  for (const id of Object.keys(state.gateways))
    if (state.gateways[id]!.alive) after = await happen(after, id, { do: 'cut', replica: 'rep_1' })
  return { ...after, told: after.told && !someWait(after) }
}

/** What must never be. */
function check(before: State, state: State): State {
  for (const [id, { alive, view }] of Object.entries(state.gateways)) {
    if (!alive) continue
    for (const [request, where] of Object.entries(view.requests))
      assert(typeof where === 'string' || where === 200, `${request} gets ${where}`)
    for (const replica of view.sentTo.slice(before.gateways[id]?.view.sentTo.length ?? 0)) {
      const removed = before.drainedAway.includes(replica)
      assert(!removed, `${id} sends a request to ${replica}, which was drained and removed`)
    }
  }
  // The first one, and one more however many ask; another for one that died, or that was put to sleep once more.
  const { mishaps, told } = state.scenario
  const starts = 2 + (mishaps.includes('the replica dies') ? 1 : 0) + (told === 2 ? 1 : 0)
  assert(state.made <= starts, `${state.made} replicas were started`)
  return state
}

export function someWait({ gateways }: State): boolean {
  return Object.values(gateways).some(({ alive, view }) => alive && Object.values(view.requests).includes('held'))
}

/** A report, written or about to be, has somebody who waits: as far as anybody can know, it is so. */
function isSaidToWait({ register, gateways }: State): boolean {
  const reports = [...register, ...Object.values(gateways).flatMap(({ saying }) => saying ?? [])]
  return reports.some(({ demand }) => ((demand[deploymentId] as Demand | undefined)?.held ?? 0) > 0)
}

/** Nobody is waiting, or being answered. */
export function allAnswered({ gateways }: State): boolean {
  return Object.values(gateways).every(
    ({ alive, view }) => !alive || Object.values(view.requests).every((where) => typeof where === 'number'),
  )
}

/** It sleeps, and holds nothing. */
export function sleeps({ desiredReplicas, phase, machines, rows }: State): boolean {
  return desiredReplicas === 0 && phase === 'asleep' && rows.length === 0 && Object.keys(machines).length === 0
}

/** Nobody has asked anything so far. */
export function nobodyAsked({ scenario, left }: State): boolean {
  return Object.keys(scenario.requests).every((request) => left.includes(request))
}

function replicaOf(where: string | number): string | null {
  return typeof where === 'string' && where !== 'held' ? where.slice('with '.length) : null
}

function withGateway(state: State, id: string, change: Partial<Gateway>): State {
  return { ...state, gateways: { ...state.gateways, [id]: { ...state.gateways[id]!, ...change } } }
}

function withMachine(state: State, id: string, machine: 'up' | 'dead'): State {
  return { ...state, machines: { ...state.machines, [id]: machine } }
}
