/**
 * Leaving quiet deployments alone changes nothing: whoever is looked at only when something is due decides at every
 * moment as one who is looked at with every report.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { defaultScaling, floorOf, type ScalingPolicy } from '../deployments/scaling.ts'
import { decide } from './decide.ts'
import { recall, type Scaled, sampleOf } from './memory.ts'
import { catchUp, dueAt, Readings } from './quiet.ts'
import { defaultDecideSettings, firstState, type ScalingState } from './state.ts'
import { addSample, addSamples, emptyWindow, type LoadWindow, type Sample } from './window.ts'

const start = Date.UTC(2026, 0, 1)
const { freshSeconds } = defaultDecideSettings
const nothing = { inFlight: 0, held: 0, rejected: 0, arrivals: 0, ttftMsP90: null }

interface Deployment extends Scaled {
  window: LoadWindow
  state: ScalingState
}

/** Replicas are ready `lagSeconds` after they are wished. */
class Run {
  readonly #policy: ScalingPolicy
  readonly #skips: boolean
  readonly #readings = new Readings()
  readonly #lagSeconds: number
  #deployment: Deployment
  #before: { row: Scaled; at: number } | null = null
  #dueAt = 0
  #wasActive = false
  #heard = ''
  #wished: { at: number; desired: number }[] = []
  looks = 0

  constructor(policy: ScalingPolicy, lagSeconds: number, skips: boolean) {
    this.#policy = policy
    this.#lagSeconds = lagSeconds
    this.#skips = skips
    const desired = floorOf(policy)
    const row = { desired_replicas: desired, ready_replicas: desired, autoscaler: {} }
    this.#deployment = { ...row, window: emptyWindow, state: firstState(desired) }
  }

  /** One report; `asked` null = no gateway reports. Gives the wished replicas after it. */
  report(now: number, asked: typeof nothing | null, complete: boolean): number {
    const one = this.#deployment
    const due = this.#wished.filter(({ at }) => at + this.#lagSeconds * 1000 <= now).at(-1)
    const ready = Math.min(due?.desired ?? one.ready_replicas, one.desired_replicas)
    const changed = ready !== one.ready_replicas || this.#before?.row.desired_replicas !== one.desired_replicas
    one.ready_replicas = ready
    const active = asked !== null && (asked.inFlight > 0 || asked.held > 0 || asked.arrivals > 0)
    const heard = asked === null ? 'nobody' : complete ? 'all' : 'some'
    const turned = heard !== this.#heard
    this.#heard = heard
    if (!this.#skips || turned || changed || active || this.#wasActive || this.#dueAt <= now)
      this.#look(now, asked, complete)
    this.#wasActive = active
    if (asked !== null) this.#readings.add(now, complete)
    return one.desired_replicas
  }

  #look(now: number, asked: typeof nothing | null, complete: boolean): void {
    const one = this.#deployment
    this.looks += 1
    Object.assign(one, recall(one, one, now))
    one.window = catchUp(one.window, this.#before, this.#readings, now)
    if (asked !== null) one.window = addSample(one.window, sampleOf(one, asked, complete, now))
    const input = { window: one.window, policy: this.#policy, state: one.state, sla: { ttftTargetMs: null } }
    const decision = decide({ ...input, capacityPerReplica: 4, now, settings: defaultDecideSettings })
    this.#dueAt = dueAt(decision, { window: one.window, inactiveMinutes: 0, freshSeconds }, now)
    this.#before = { row: { ...one }, at: now }
    one.state = decision.state
    if (decision.desired === one.desired_replicas) return
    one.desired_replicas = decision.desired
    this.#wished.push({ at: now, desired: decision.desired })
  }
}

const policies = fc.record({
  policy: fc.constantFrom('steps' as const, 'target' as const),
  minReplicas: fc.integer({ min: 0, max: 2 }),
  scaleToZero: fc.boolean(),
  idleTimeoutSeconds: fc.integer({ min: 5, max: 90 }),
  cooldownSeconds: fc.integer({ min: 10, max: 90 }),
})
const stretch = fc.record({
  seconds: fc.integer({ min: 1, max: 120 }),
  kind: fc.constantFrom('quiet', 'quiet', 'quiet', 'busy', 'held', 'silent', 'partial'),
  many: fc.integer({ min: 1, max: 20 }),
})

test('looked at only when something is due it decides as with every report', () => {
  let [every, some] = [0, 0]
  fc.assert(
    fc.property(
      policies,
      fc.array(stretch, { minLength: 2, maxLength: 8 }),
      fc.integer({ min: 0, max: 20 }),
      (own, history, lag) => {
        const policy: ScalingPolicy = { ...defaultScaling, ...own, maxReplicas: 6 }
        const [all, few] = [new Run(policy, lag, false), new Run(policy, lag, true)]
        let now = start
        for (const { seconds, kind, many } of history)
          for (let second = 0; second < seconds; second += 1) {
            now += 1_000
            const load = kind === 'busy' ? { inFlight: many, arrivals: many } : kind === 'held' ? { held: many } : {}
            const asked = kind === 'silent' ? null : { ...nothing, ...load }
            const wished = [all, few].map((run) => run.report(now, asked, kind !== 'partial'))
            assert.equal(wished[1], wished[0], `${(now - start) / 1000} s`)
          }
        every += all.looks
        some += few.looks
      },
    ),
    { numRuns: Number(process.env.RUNS ?? 150) },
  )
  assert.ok(some < every * 0.8, `${some} looks instead of ${every}`)
})

test('samples that are added together are those that are added one by one', () => {
  const sample = fc.record({
    inFlight: fc.integer({ min: 0, max: 2 }),
    partial: fc.boolean(),
    gap: fc.integer({ min: 1, max: 30 }),
  })
  fc.assert(
    fc.property(
      fc.array(sample, { maxLength: 20 }),
      fc.array(sample, { minLength: 1, maxLength: 300 }),
      (first, then) => {
        let at = start
        const make = ({ inFlight, partial, gap }: { inFlight: number; partial: boolean; gap: number }): Sample => {
          at += gap * 1000
          return { ...nothing, at, inFlight, ready: 1, pending: 0, partial }
        }
        const window = first.map(make).reduce(addSample, emptyWindow)
        const more = then.map(make)
        assert.deepEqual(addSamples(window, more), more.reduce(addSample, window))
      },
    ),
    { numRuns: 50 },
  )
})
