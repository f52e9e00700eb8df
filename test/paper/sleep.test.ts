/**
 * "A request that arrives at any instant of going to sleep is answered": every order of the steps of gateways,
 * autoscaler, reconciler and engine, with requests arriving before, between and after any of them; not some of them by
 * chance, all of them. Whoever asks is answered once; nothing is sent to a replica that was removed, and none is removed
 * with a request on it; nobody is left waiting for a deployment that sleeps; one start wakes it, however many ask; and
 * where nobody asks it does go to sleep.
 */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { explore, findDeadEnd, findTrap, type Graph, wayTo } from './explore.ts'
import { type Rules, realRules as real } from './rules.ts'
import { forget } from './sleep-gateway.ts'
import { type Scenario, type State, standStill, toldToSleep } from './sleep-state.ts'
import { allAnswered, nobodyAsked, sleepModel, sleeps, someWait } from './sleep-steps.ts'

const statesMaximum = 200_000

const one = { gateways: ['gw_a'], requests: { r1: 'gw_a' }, told: 0, mishaps: [] } satisfies Scenario
const two = {
  gateways: ['gw_a', 'gw_b'],
  requests: { r1: 'gw_a', r2: 'gw_b' },
  told: 0,
  mishaps: [],
} satisfies Scenario

const scenarios: Record<string, Scenario> = {
  'one request': { ...one, signsOfLife: true },
  'two requests at one gateway': { ...one, requests: { r1: 'gw_a', r2: 'gw_a' }, signsOfLife: true },
  'two gateways': { ...two, requests: { r1: 'gw_a' }, signsOfLife: true },
  'two gateways, a request at each': { ...two, alike: true, prompt: true },
  'two gateways, of which one dies for good': {
    ...two,
    prompt: true,
    requests: { r1: 'gw_a' },
    mishaps: ['gw_b dies'],
  },
  'a gateway that died long ago, and a person who says sleep': { ...one, lost: 'gw_b', told: 1 },
  'one request, and control dies, or stands still': { ...one, prompt: true, mishaps: ['control dies', standStill] },
  'one request, and the autoscaler dies': { ...one, mishaps: ['the autoscaler dies'] },
  'one request, and the replica dies': { ...one, prompt: true, mishaps: ['the replica dies'] },
  'two requests, and a person who says sleep': { ...one, told: 1, requests: { r1: 'gw_a', r2: 'gw_a' } },
  'one request, and a person who says sleep twice': { ...one, told: 2 },
}

/** What is wrong, with the way that leads there; null = nothing. */
function problemOf(graph: Graph<State>, { alike, lost, mishaps, told }: Scenario): string | null {
  const hopeless = findDeadEnd(graph, allAnswered)
  if (hopeless) return `somebody waits, and nothing can help any more:\n${wayTo(hopeless)}`
  // Taking turns means nothing where one may stand for another.
  if (alike) return null
  const unanswered = findTrap(graph, allAnswered)
  if (unanswered) return `somebody waits for ever:\n${wayTo(unanswered)}`
  // What a gateway that died for good may have had on a replica keeps it until the deadline of its drain; and what an
  // autoscaler had seen of the quiet is forgotten with it.
  if (lost || mishaps.includes('gw_b dies') || mishaps.includes('the autoscaler dies')) return null
  const quiet = (state: State) => nobodyAsked(state) && !(told > 0 && state.left.includes(toldToSleep))
  const awake = findTrap(graph, (state) => !quiet(state) || sleeps(state))
  if (awake) return `nobody asks, and it does not sleep:\n${wayTo(awake)}`
  const disobeys = findTrap(graph, (state) => !state.told || sleeps(state))
  return disobeys && `it was told to sleep, nobody waits, and it does not:\n${wayTo(disobeys)}`
}

for (const [name, scenario] of Object.entries(scenarios))
  test(`every order: ${name}`, async (t) => {
    forget()
    const graph = await explore(await sleepModel(scenario, real), statesMaximum)
    t.diagnostic(`${graph.nodes.length} states, ${graph.steps} steps`)
    assert.equal(problemOf(graph, scenario), null)
    const states = graph.nodes.map((node) => node.state)
    const draining = (state: State) => state.rows.some((row) => row.phase === 'draining')
    const served = (state: State) => !allAnswered(state) && !someWait(state)
    assert(
      states.some((state) => draining(state) && someWait(state)),
      'somebody waits while it goes to sleep',
    )
    assert(
      states.some((state) => draining(state) && served(state)),
      'somebody is served while it goes to sleep',
    )
    // A gateway that died long ago keeps what drains from being removed until the deadline.
    if (scenario.lost) return
    assert(
      states.some((state) => sleeps(state) && someWait(state)),
      'somebody waits while it sleeps',
    )
    assert(
      states.some((state) => state.made > 1),
      'it is started again',
    )
  })

interface Planted {
  scenario: Scenario
  rules: Partial<Rules>
}

const small = { ...one, prompt: true } satisfies Scenario

const planted: Record<string, Planted> = {
  'drained before the gateway knows': {
    scenario: small,
    rules: { isDrained: (gateways, id, _version, now) => real.isDrained(gateways, id, 0, now) },
  },
  'a gateway acknowledges what it has not applied': {
    scenario: { ...one, signsOfLife: true },
    rules: { said: (report, newest) => ({ ...report, routesVersion: newest }) },
  },
  'what is in flight does not count': {
    scenario: small,
    rules: {
      isDrained: (gateways, ...rest) =>
        real.isDrained(
          gateways.map((gateway) => ({ ...gateway, inFlight: {} })),
          ...rest,
        ),
    },
  },
  'only the first gateway is asked': {
    scenario: { ...two, prompt: true },
    rules: { isDrained: (gateways, ...rest) => real.isDrained(gateways.slice(0, 1), ...rest) },
  },
  'a replica that drains stays in the route as ready': {
    scenario: small,
    rules: {
      makeRoute: (source) => {
        const route = real.makeRoute(source)
        return { ...route, replicas: route.replicas.map((replica) => ({ ...replica, state: 'ready' })) }
      },
    },
  },
  'a drain that was called off leaves its version behind': {
    scenario: { ...small, told: 2 },
    rules: { drainVersionCalledOff: (version) => version },
  },
  'held requests are no demand': {
    scenario: small,
    rules: {
      gather: (demands, ...rest) =>
        new Map([...real.gather(demands, ...rest)].map(([id, asked]) => [id, { ...asked, held: 0 }])),
    },
  },
  'the decision does not look at who waits': {
    scenario: small,
    rules: {
      decide: (input) => {
        const samples = input.window.samples.map((sample) => ({ ...sample, held: 0 }))
        return real.decide({ ...input, window: { ...input.window, samples } })
      },
    },
  },
  'nobody is heard while one gateway is silent': {
    scenario: { ...small, lost: 'gw_b', told: 1 },
    rules: {
      heard: (gateways, now) => {
        const { complete, fresh } = real.heard(gateways, now)
        return { complete, fresh: complete ? fresh : [] }
      },
    },
  },
  'the autoscaler trusts its memory more than the row': {
    scenario: { ...small, told: 1 },
    rules: { recall: (known, row, now) => known ?? real.recall(known, row, now) },
  },
  'told to sleep, it wakes for what it was answering': {
    scenario: { ...small, told: 1 },
    rules: {
      recall: (known, row, now) => {
        const memory = real.recall(known, row, now)
        const last = memory.window.samples.at(-1)
        return last && last.inFlight > 0 ? { ...memory, state: { ...memory.state, sleepAsked: false } } : memory
      },
    },
  },
  'every request that waits starts a replica of its own': {
    scenario: { ...small, requests: { r1: 'gw_a', r2: 'gw_a' } },
    rules: {
      plan: (input) => {
        const result = real.plan(input)
        const more = result.actions.find((action) => action.do === 'plan_replica')
        return more ? { ...result, actions: [...result.actions, more] } : result
      },
    },
  },
}

for (const [name, { scenario, rules }] of Object.entries(planted))
  test(`planted bug is found: ${name}`, async (t) => {
    forget()
    const broken = { ...real, ...rules }
    const found = await explore(await sleepModel(scenario, broken), statesMaximum).then(
      (graph) => problemOf(graph, scenario),
      (error: Error) => error.message,
    )
    assert(found !== null, 'no order of steps showed it')
    t.diagnostic(found)
  })
