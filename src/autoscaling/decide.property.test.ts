/** What holds for every load, every policy and every order of events; and what peers' users met. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { boundsOf, defaultScaling, type ScalingPolicy, type WindowLimits } from '../deployments/scaling.ts'
import { decide } from './decide.ts'
import { Drive, sampleAt } from './drive.fixture.ts'
import { waitingIn } from './look.ts'
import { askToSleep, type Decision, defaultDecideSettings, type ScalingState, wake } from './state.ts'
import { addSample, demandOf, emptyWindow, hadDemand } from './window.ts'

const seed = Number(process.env.SEED ?? 3)
const numRuns = Number(process.env.RUNS ?? 100)

const policies = fc
  .record({
    autoscalingEnabled: fc.boolean(),
    policy: fc.constantFrom('steps', 'target', 'slo' as const),
    minReplicas: fc.integer({ min: 0, max: 4 }),
    spread: fc.integer({ min: 0, max: 6 }),
    scaleToZero: fc.boolean(),
    idleTimeoutSeconds: fc.integer({ min: 60, max: 200 }),
    cooldownSeconds: fc.integer({ min: 121, max: 300 }),
    targetConcurrency: fc.option(fc.integer({ min: 1, max: 20 }), { nil: null }),
  })
  .map(({ spread, ...rest }): ScalingPolicy => {
    const minReplicas = rest.autoscalingEnabled ? rest.minReplicas : Math.max(1, rest.minReplicas)
    const maxReplicas = rest.autoscalingEnabled ? Math.max(1, minReplicas + spread) : minReplicas
    return { ...defaultScaling, ...rest, minReplicas, maxReplicas }
  })

const few = (max: number) => fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: 0, max }))
const events = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.record({
      kind: fc.constant('load' as const),
      seconds: fc.integer({ min: 1, max: 150 }),
      inFlight: few(80),
      held: few(40),
      rejected: few(5),
      arrivals: few(10),
      ttftMsP90: fc.option(fc.integer({ min: 10, max: 5000 }), { nil: null }),
      /** How many of the wished replicas are ready. */
      readyShare: fc.constantFrom(0, 0.5, 1, 1, 1),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('silence' as const), seconds: fc.integer({ min: 1, max: 400 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('jump' as const), seconds: fc.integer({ min: -9999, max: 9999 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('policy' as const), policy: policies }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('sleep' as const, 'wake' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('schedule' as const),
      override: fc.constantFrom<WindowLimits | null>(
        null,
        { action: 'sleep' },
        { action: 'scale', min: 0, max: 2 },
        { action: 'scale', min: 2, max: 5 },
      ),
    }),
  },
)

type Event = typeof events extends fc.Arbitrary<infer E> ? E : never
type Check = (before: ScalingState, decision: Decision, drive: Drive) => void

/** Plays the events; `check` sees every decision. */
function play(policy: ScalingPolicy, story: Event[], check: Check): void {
  const drive = new Drive(policy, Math.max(1, policy.minReplicas))
  const decideAndCheck = (made: () => Decision) => {
    const before = drive.state
    check(before, made(), drive)
  }
  for (const event of story) {
    if (event.kind === 'policy') drive.policy = event.policy
    if (event.kind === 'sleep') drive.state = askToSleep(drive.state)
    if (event.kind === 'wake') drive.state = wake(drive.state, Math.max(1, drive.policy.minReplicas), drive.now)
    if (event.kind === 'schedule') drive.override = event.override
    if (event.kind === 'jump') drive.now += event.seconds * 1000
    if (event.kind === 'silence')
      for (let second = 0; second < event.seconds; second += 5, drive.now += 5000) decideAndCheck(() => drive.decide())
    if (event.kind !== 'load') continue
    for (let second = 0; second < event.seconds; second += 2, drive.now += 2000) {
      const ready = Math.floor(drive.state.desired * event.readyShare)
      const { inFlight, held, rejected, arrivals, ttftMsP90 } = event
      const load = { inFlight: ready > 0 ? inFlight : 0, held, rejected, arrivals, ttftMsP90 }
      decideAndCheck(() => drive.report({ ...load, ready, pending: drive.state.desired - ready }))
    }
  }
}

function always(name: string, check: Check, runs = numRuns): void {
  test(name, () => {
    const property = fc.property(policies, fc.array(events, { minLength: 1, maxLength: 25 }), (policy, story) =>
      play(policy, story, check),
    )
    fc.assert(property, { numRuns: runs, seed })
  })
}

always('within floor and ceiling, or asleep', (_, { desired }, { policy, override }) => {
  const [floor, ceiling] =
    override?.action === 'scale' ? [override.min, override.max] : [policy.minReplicas, policy.maxReplicas]
  assert.ok(desired === 0 || desired >= Math.max(1, floor), `${desired} below ${floor}`)
  assert.ok(
    desired <= Math.max(1, policy.autoscalingEnabled ? ceiling : Math.max(1, floor)),
    `${desired} above ${ceiling}`,
  )
})

always('never less while anybody waits, and not to zero while anybody is served', (before, decision, drive) => {
  if (decision.desired >= before.desired || decision.cause === 'limits') return
  // A schedule may lower the ceiling; its sleep waits for quiet.
  if (decision.cause === 'schedule' && drive.override?.action !== 'sleep') return
  if (decision.cause === 'schedule' && decision.desired > 0) return
  const last = drive.window.samples.at(-1)
  assert.ok(last !== undefined && drive.now - last.at < 10_000, 'taken away without a fresh report')
  const capacity = drive.policy.targetConcurrency ?? drive.capacity
  assert.equal(waitingIn(last, capacity), 0)
  if (decision.desired === 0) assert.equal(demandOf(last), 0)
  else assert.equal(decision.desired, before.desired - 1)
})

always('panic never takes anything away but for sleep, limits and schedule', (before, decision, { now }) => {
  const panics = before.panicUntil !== null && before.panicUntil > now && before.panicUntil <= now + 60_000
  if (panics && decision.desired < before.desired)
    assert.ok(['idle', 'limits', 'schedule'].includes(decision.cause), decision.cause)
})

always('demand at zero wakes at once', (before, decision, { window, now }) => {
  const last = window.samples.at(-1)
  if (before.desired > 0 || last?.at !== now || demandOf(last) === 0) return
  assert.ok(decision.desired >= 1)
  assert.equal(decision.cause, 'wake')
})

always(
  'one start however many ask: until the first replica answers there are no more than the floor',
  (before, decision, drive) => {
    if (decision.state.readySince !== null || decision.desired <= before.desired) return
    const { policy, override } = drive
    assert.ok(['wake', 'limits', 'schedule'].includes(decision.cause), decision.cause)
    assert.equal(decision.desired, boundsOf(policy, override).floor)
  },
)

always('a step down comes no sooner than the cooldown after any change', (before, decision, { policy, now }) => {
  if (decision.cause !== 'load' || decision.desired >= before.desired || before.changedAt === null) return
  assert.ok(now - before.changedAt >= policy.cooldownSeconds * 1000 || now < before.changedAt)
})

always('the step to zero comes no sooner than the idle timeout, unless it was told to', (before, decision, drive) => {
  if (decision.desired > 0 || before.desired === 0 || decision.cause !== 'idle' || before.sleepAsked) return
  const quiet = drive.window.samples.filter(
    ({ at }) => at > drive.now - Math.min(120, drive.policy.idleTimeoutSeconds) * 1000,
  )
  assert.ok(quiet.length > 0 && !quiet.some(hadDemand))
})

always(
  'the state survives JSON, and the same input gives the same answer',
  (before, decision, drive) => {
    assert.deepEqual(JSON.parse(JSON.stringify(decision)), decision)
    const { policy, sla, window, now, override, capacity } = drive
    const input = { window, policy, state: before, sla, capacityPerReplica: capacity, now, override }
    const again = { ...input, settings: defaultDecideSettings }
    assert.deepEqual(decide(JSON.parse(JSON.stringify(again))), decision)
    assert.equal(decision.state.desired, decision.desired)
    assert.ok(decision.why.endsWith('.') && decision.why.length > 10)
  },
  Math.ceil(numRuns / 3),
)

const silent = { inFlight: 0, held: 0, rejected: 0, arrivals: 0, ttftMsP90: null, readyShare: 1 } as const

test('whatever happened before, steady load ends in a steady number', () => {
  const property = fc.property(
    policies,
    fc.array(events, { maxLength: 10 }),
    fc.integer({ min: 1, max: 60 }),
    (policy, story, inFlight) => {
      let last: Drive | null = null
      play(
        policy,
        [...story, { kind: 'schedule', override: null }, { kind: 'load', seconds: 2, ...silent }],
        (_, __, drive) => {
          last = drive
        },
      )
      const drive = last! as Drive
      drive.run(5000, { inFlight })
      const before = drive.changes.length
      drive.run(1000, { inFlight })
      assert.equal(drive.changes.length, before)
    },
  )
  fc.assert(property, { numRuns: 10, seed })
})

test('peers: what is turned away at zero is demand, so it wakes', () => {
  const drive = new Drive({ minReplicas: 0 }, 0)
  assert.equal(drive.report().desired, 0)
  drive.now += 2000
  assert.equal(drive.report({ rejected: 1 }).cause, 'wake')
})

test('peers: traffic for adapters only scales like any other', () => {
  // Counts are per deployment: nothing in a sample says which name of it was asked for.
  assert.deepEqual(Object.keys(sampleAt(0)).sort(), [
    'arrivals',
    'at',
    'held',
    'inFlight',
    'pending',
    'ready',
    'rejected',
    'ttftMsP90',
  ])
  const drive = new Drive({ policy: 'target' })
  assert.equal(drive.run(10, { inFlight: 28 }).desired, 4)
})

test('peers: averages filled with zeros delay the ramp; from nothing known the first report decides', () => {
  const drive = new Drive({ policy: 'target' })
  assert.equal(drive.report({ inFlight: 10, held: 46 }).desired, 8)
})

test('peers: a first partial step locks nothing', () => {
  const drive = new Drive({ policy: 'target' })
  drive.run(120)
  drive.run(8, { inFlight: 14 })
  assert.equal(drive.state.desired, 2)
  drive.run(8, { inFlight: 56 })
  assert.equal(drive.state.desired, 8)
})

test('peers: two writers; replicas that somebody else made or removed do not move the wish', () => {
  for (const policy of ['steps', 'target', 'slo'] as const)
    for (const ready of [0, 1, 7]) {
      const drive = new Drive({ policy, cooldownSeconds: 600 }, 3)
      drive.run(500, { ready, inFlight: ready === 0 ? 0 : 9 })
      assert.deepEqual(drive.changes, [], `${policy}, ${ready} ready`)
    }
})

test('peers: other limits under load keep what runs', () => {
  const drive = new Drive({ policy: 'target' }, 1)
  drive.run(20, { inFlight: 35 })
  assert.equal(drive.state.desired, 5)
  drive.policy = { ...drive.policy, minReplicas: 0, scaleToZero: true, policy: 'steps' }
  assert.equal(drive.run(60, { inFlight: 35 }).desired, 5)
})

test('an empty window decides nothing', () => {
  const drive = new Drive({})
  drive.window = emptyWindow
  assert.deepEqual([drive.decide().desired, drive.decide().cause], [1, 'no-reports'])
  assert.equal(addSample(emptyWindow, sampleAt(5)).quietSince, 5)
})
