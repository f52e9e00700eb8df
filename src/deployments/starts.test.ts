/** Engines that become ready and soon die, again and again: what counts as a failed start, what forgives, how long is paused. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Observation, Offer } from '../compute/contract.ts'
import { type Plan, plan } from './plan.ts'
import type { ReplicaView } from './replica.ts'
import { noStarts, type PlanInput, type PlanSettings } from './situation.ts'
import { backoffMs } from './starts.ts'

const settings: PlanSettings = {
  startDeadlineMs: 600_000,
  stableMs: 60_000,
  brakeAfter: 5,
  rollbackAfter: 2,
  backoffMs: 2_000,
  backoffMaximumMs: 300_000,
  unresponsiveMs: 30_000,
  drainDeadlineMs: 600_000,
}
const placement = { provider: 'p', gpuType: 'h100', gpuCount: 1, region: 'r', emulated: false }
const offers: Offer[] = [{ ...placement, totalUnits: 8, freeUnits: 8 }]
const startMs = 1_000
const lastLines = ['out of memory']

/** How an engine fares once it is ready: it dies, or falls silent, after so many ms; null = it stays. */
type Fate = { dies: number } | { silent: number } | null

/** One deployment and its machines, a plan every `stepMs`. */
class Course {
  now = 1_000_000
  wanted: number
  readonly starts: number[] = []
  replicas: ReplicaView[] = []
  deployment: PlanInput['deployment']
  last!: Plan
  readonly #fate: (start: number) => Fate
  readonly #readyAt = new Map<string, number>()
  readonly #settings: PlanSettings

  constructor(wanted: number, fate: (start: number) => Fate, over: Partial<PlanSettings> = {}) {
    this.#settings = { ...settings, ...over }
    this.wanted = wanted
    this.#fate = fate
    this.deployment = {
      id: 'dep',
      desired: 'running',
      desiredReplicas: wanted,
      phase: 'starting',
      reason: null,
      starts: noStarts,
    }
  }

  /** Until `done` says so or the time is over. */
  run(seconds: number, done = (_plan: Plan) => false, stepMs = 250): this {
    for (const until = this.now + seconds * 1000; this.now < until; this.now += stepMs) {
      this.#turn()
      if (done(this.last)) break
    }
    return this
  }

  #turn(): void {
    const hardware = [{ gpuType: 'h100', gpuCount: 1, region: null }]
    const seen = this.replicas.map((replica) => this.#look(replica))
    const revision = { id: 'rev', number: 1, hardware, failed: false, proven: true }
    this.last = plan({
      deployment: this.deployment,
      revisions: [revision],
      replicas: seen,
      offers,
      now: this.now,
      settings: this.#settings,
    })
    const { phase, reason, starts, actions } = this.last
    this.deployment = { ...this.deployment, phase, reason, starts }
    for (const action of actions) {
      if (action.do === 'update')
        seen.splice(
          seen.findIndex(({ id }) => id === action.replicaId),
          1,
          { ...seen.find(({ id }) => id === action.replicaId)!, ...(action.patch as Partial<ReplicaView>) },
        )
      if (action.do === 'plan_replica') seen.push(this.#start())
    }
    // What is removed is gone by the next look.
    this.replicas = seen.filter(({ phase }) => phase !== 'deleting')
  }

  #start(): ReplicaView {
    this.starts.push(this.now)
    return {
      id: `rep_${this.starts.length}`,
      revisionId: 'rev',
      phase: 'starting',
      placement,
      after: null,
      createdAt: this.now,
      startedAt: this.now,
      readyAt: null,
      drainAt: null,
      endedAt: null,
      unhealthySince: null,
      startPhases: {},
      exit: null,
      seen: null,
      probe: null,
      drained: false,
    }
  }

  #look(replica: ReplicaView): ReplicaView {
    const { id, createdAt } = replica
    const age = this.now - createdAt - startMs
    if (age >= 0 && !this.#readyAt.has(id)) this.#readyAt.set(id, this.now)
    const fate = this.#fate(Number(id.slice(4)))
    const lived = this.now - (this.#readyAt.get(id) ?? this.now)
    let seen: Observation = { state: 'running', address: '10.0.0.1', port: 1, startedAt: createdAt }
    if (fate !== null && 'dies' in fate && replica.readyAt !== null && lived >= fate.dies) {
      const at = this.#readyAt.get(id)! + fate.dies
      seen = { state: 'exited', exit: { at, code: 1, signal: null, lastLines, why: 'The engine ended with status 1.' } }
    }
    const silent = fate !== null && 'silent' in fate && lived >= fate.silent
    const ready = age >= 0 && !silent
    return { ...replica, seen, probe: ready ? { state: 'ready' } : { state: 'not_ready', phase: 'load', detail: '' } }
  }

  get pauses(): number[] {
    return this.starts.slice(1).map((at, index) => at - this.starts[index]!)
  }
}
const failed = ({ phase }: Plan) => phase === 'failed'

test('it dies 3 s after it was ready, every time: ever longer pauses, then it is given up, with its last lines', () => {
  const course = new Course(1, () => ({ dies: 3_000 })).run(600, failed)
  assert.equal(course.starts.length, 5)
  const pauses = course.pauses.map((ms) => ms - startMs - 3_000)
  for (const [index, ms] of pauses.entries()) assert.ok(ms >= 2_000 * 2 ** index && ms < 2_000 * 2 ** index + 1_000)
  const { reason, starts } = course.last
  assert.equal(reason?.code, 'crash_loop')
  assert.match(
    reason!.message,
    /5 starts in a row failed; last: It was ready for 3 s\. The engine ended with status 1\./,
  )
  assert.deepEqual(starts.lastLines, lastLines)
  assert.equal(course.run(3_600).starts.length, 5, 'it stays down')
})

test('it falls silent soon, every time: that counts as well', () => {
  const course = new Course(1, () => ({ silent: 10_000 })).run(1_800, failed)
  assert.deepEqual([course.last.phase, course.starts.length], ['failed', 5])
})

test('it dies, but not soon: started again at once, for ever', () => {
  const course = new Course(1, () => ({ dies: 61_000 })).run(1_200)
  assert.ok(course.starts.length >= 15)
  assert.ok(course.pauses.every((ms) => ms < startMs + 61_000 + 2_000))
  assert.equal(course.last.starts.failed, 0)
})

test('one that stays forgives all before it; the turn for that is asked for', () => {
  const course = new Course(1, (start) => (start < 4 ? { dies: 3_000 } : null))
  course.run(60, ({ starts, phase }) => starts.failed === 3 && phase === 'serving')
  const upAt = course.replicas[0]!.readyAt!
  assert.equal(course.last.wakeAt !== null && course.last.wakeAt <= upAt + 60_000, true)
  assert.equal(course.run(50).last.starts.failed, 3)
  assert.equal(course.run(20).last.starts.failed, 0)
})

test('four at once that die of the same thing are one try, and four tries more are left', () => {
  const course = new Course(4, () => ({ dies: 5_000 })).run(600, failed)
  assert.equal(course.starts.length, 20)
  assert.equal(course.last.starts.failed, 5)
})

test('beside one that stays: nothing is given up, and the pauses grow', () => {
  const course = new Course(2, (start) => (start === 1 ? null : { dies: 3_000 })).run(1_200)
  assert.equal(course.last.phase, 'degraded')
  assert.equal(course.replicas.filter(({ phase }) => phase === 'ready').length >= 1, true)
  assert.ok(course.starts.length < 15, `${course.starts.length} starts in 20 minutes`)
  assert.ok(course.pauses.at(-1)! > 250_000)
})

test('with stableMs 0 being ready once is enough', () => {
  const course = new Course(1, () => ({ dies: 3_000 }), { stableMs: 0 }).run(120)
  assert.ok(course.starts.length > 20)
  assert.equal(course.last.starts.failed, 0)
})

test('whatever they live: the count is never more than the starts, and given up is only what never stayed', () => {
  const life = fc.oneof(fc.integer({ min: 0, max: 59_000 }), fc.integer({ min: 60_000, max: 200_000 }))
  fc.assert(
    fc.property(fc.array(life, { minLength: 8, maxLength: 8 }), fc.integer({ min: 1, max: 3 }), (lives, wanted) => {
      const course = new Course(wanted, (start) => ({ dies: lives[start % 8]! })).run(400, failed, 500)
      assert.ok(course.last.starts.failed <= course.starts.length)
      if (failed(course.last)) {
        const tries = Array.from({ length: 5 }, (_, back) => lives[(course.starts.length - back) % 8]!)
        assert.ok(wanted > 1 || tries.every((ms) => ms < 60_000), `given up after ${tries}`)
      }
    }),
    { numRuns: 30 },
  )
})

test('the pause doubles up to its limit', () => {
  assert.deepEqual(
    [1, 2, 3, 9, 40].map((count) => backoffMs(count, settings)),
    [2_000, 4_000, 8_000, 300_000, 300_000],
  )
})
