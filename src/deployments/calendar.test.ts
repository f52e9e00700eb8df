/** What leases and schedules do, whoever does what in between: edges, people, restarts, clocks. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { anew, type Calendar, type CalendarAct, type CalendarView, calendarStep } from './calendar.ts'
import { days, type Override, type Schedule, scheduleAt } from './schedule.ts'

const at = (text: string) => Date.parse(`2026-11-${text}Z`)
const hourMs = 3_600_000
const nights: Schedule = {
  windows: [{ days: [...days], from: '22:00', to: '06:00', timezone: 'UTC', action: 'stop' }],
}

/** A deployment that does what its calendar says, looked at when the test says. */
class Tenant {
  view: CalendarView
  now: number
  /** Everything the calendar did, with the hour. */
  story: string[] = []
  wakeAt: number | null = null
  warningMs = hourMs
  step = calendarStep
  constructor(schedule: Schedule | null, now: number, expiresAt: number | null = null) {
    this.view = { schedule, expiresAt, calendar: null, desired: 'running', failed: false, stoppedBy: null }
    this.now = now
  }

  look(now = this.now): CalendarAct[] {
    this.now = now
    const { acts, calendar, wakeAt } = this.step(this.view, now, this.warningMs)
    // As it is stored.
    this.view.calendar = JSON.parse(JSON.stringify(calendar)) as Calendar
    this.wakeAt = wakeAt
    for (const act of acts) {
      if (act.do === 'stop') this.rest('schedule')
      if (act.do === 'expire') this.rest('lease')
      if (act.do === 'start') this.run()
      if (act.do !== 'turn') this.story.push(`${act.do} ${new Date(now).toISOString().slice(8, 16)}`)
    }
    return acts
  }

  rest(by: CalendarView['stoppedBy']): void {
    Object.assign(this.view, { desired: 'stopped', stoppedBy: by })
  }

  run(): void {
    Object.assign(this.view, { desired: 'running', stoppedBy: null })
  }

  /** Looks whenever it asked to be looked at, up to `until`. */
  follow(until: number): void {
    this.look()
    while (this.wakeAt !== null && this.wakeAt <= until) this.look(this.wakeAt)
    this.now = until
  }
}

test('a stop window stops, and starts again at its end, every night', () => {
  const tenant = new Tenant(nights, at('21T12:00'))
  tenant.follow(at('23T12:00'))
  assert.deepEqual(tenant.story, ['stop 21T22:00', 'start 22T06:00', 'stop 22T22:00', 'start 23T06:00'])
})

test('what a person stopped stays stopped, before the window and within it', () => {
  const before = new Tenant(nights, at('21T12:00'))
  before.look()
  before.rest('person')
  before.follow(at('23T12:00'))
  assert.deepEqual(before.story, [])
  const within = new Tenant(nights, at('21T12:00'))
  within.follow(at('21T23:00'))
  within.rest('person')
  within.follow(at('23T12:00'))
  assert.deepEqual([within.story, within.view.desired], [['stop 21T22:00'], 'stopped'])
  const inactive = new Tenant(nights, at('21T12:00'))
  inactive.rest('inactive_timeout')
  inactive.follow(at('23T12:00'))
  assert.deepEqual(inactive.story, [])
})

test('what a person starts within the window runs until the next edge that stops it', () => {
  const tenant = new Tenant(nights, at('21T12:00'))
  tenant.follow(at('21T23:00'))
  tenant.run()
  for (let hour = 0; hour < 7; hour += 1) tenant.look(at('21T23:00') + hour * hourMs)
  assert.equal(tenant.view.desired, 'running')
  tenant.follow(at('22T23:00'))
  assert.deepEqual(tenant.story, ['stop 21T22:00', 'stop 22T22:00'])
})

test('edges that nobody saw are one edge: a person’s start does not outlive them', () => {
  const tenant = new Tenant(nights, at('21T12:00'))
  tenant.follow(at('21T23:00'))
  tenant.run()
  tenant.look(at('22T23:00'))
  assert.deepEqual([tenant.story.at(-1), tenant.view.desired], ['stop 22T23:00', 'stopped'])
  const away = new Tenant(nights, at('21T12:00'))
  away.look()
  away.look(at('22T12:00'))
  assert.deepEqual(away.story, [], 'a night that nobody saw is over')
  away.look(at('23T02:00'))
  away.look(at('27T12:00'))
  assert.deepEqual(away.story, ['stop 23T02:00', 'start 27T12:00'])
})

test('a schedule that is changed or removed counts at once', () => {
  const tenant = new Tenant(null, at('21T23:00'))
  tenant.look()
  const change = (schedule: Schedule | null) =>
    Object.assign(tenant.view, { schedule, calendar: anew(tenant.view.calendar) })
  change(nights)
  tenant.look()
  change(null)
  tenant.look()
  assert.deepEqual(tenant.story, ['stop 21T23:00', 'start 21T23:00'])
  tenant.rest('person')
  change(nights)
  tenant.look()
  change(null)
  tenant.look()
  assert.equal(tenant.story.length, 2, 'what a person stopped is left alone')
})

test('one that has failed is left alone: the schedule would only try it again every morning', () => {
  const tenant = new Tenant(nights, at('21T12:00'))
  tenant.view.failed = true
  tenant.follow(at('23T12:00'))
  assert.deepEqual(tenant.story, [])
})

test('a lease: warned of once, ended once, and nothing brings it back', () => {
  const tenant = new Tenant(nights, at('21T12:00'), at('22T12:00'))
  tenant.follow(at('25T12:00'))
  assert.deepEqual(tenant.story, ['stop 21T22:00', 'start 22T06:00', 'warn 22T11:00', 'expire 22T12:00'])
  assert.deepEqual([tenant.wakeAt, tenant.view.stoppedBy], [null, 'lease'])
  const asleep = new Tenant(nights, at('21T12:00'), at('22T02:00'))
  asleep.follow(at('25T12:00'))
  assert.deepEqual(asleep.story, ['stop 21T22:00', 'expire 22T02:00'], 'the schedule does not start it either')
  const stopped = new Tenant(null, at('21T12:00'), at('22T12:00'))
  stopped.rest('person')
  stopped.follow(at('25T12:00'))
  assert.deepEqual([stopped.story, stopped.view.stoppedBy], [[], 'person'])
})

test('a lease that is prolonged is warned of again; one that is removed never ends; the end that nobody saw is made up for', () => {
  const tenant = new Tenant(null, at('21T11:30'), at('21T12:00'))
  tenant.look()
  Object.assign(tenant.view, { expiresAt: at('22T12:00') })
  tenant.look()
  tenant.look(at('22T11:00'))
  assert.deepEqual(tenant.story, ['warn 21T11:30', 'warn 22T11:00'])
  Object.assign(tenant.view, { expiresAt: null })
  tenant.look(at('23T12:00'))
  assert.deepEqual([tenant.story.length, tenant.wakeAt], [2, null])
  const away = new Tenant(null, at('21T12:00'), at('22T12:00'))
  away.look()
  away.look(at('27T03:00'))
  assert.deepEqual(away.story, ['expire 27T03:00'])
})

test('a lease that is changed is no edge: a person’s start goes on; a schedule that is changed warns of nothing again', () => {
  const tenant = new Tenant(nights, at('21T12:00'), at('22T00:00'))
  tenant.follow(at('21T22:30'))
  tenant.run()
  tenant.look()
  Object.assign(tenant.view, { expiresAt: at('24T00:00') })
  tenant.look(at('21T23:30'))
  assert.deepEqual([tenant.story, tenant.view.desired], [['stop 21T22:00'], 'running'])
  Object.assign(tenant.view, { expiresAt: at('22T00:00') })
  tenant.look(at('21T23:31'))
  Object.assign(tenant.view, { schedule: null, calendar: anew(tenant.view.calendar) })
  tenant.look(at('21T23:32'))
  assert.deepEqual(tenant.story, ['stop 21T22:00', 'warn 21T23:31'])
})

test('prolonged after its end, the schedule counts again', () => {
  const tenant = new Tenant(nights, at('21T12:00'), at('21T13:00'))
  tenant.follow(at('21T14:00'))
  Object.assign(tenant.view, { expiresAt: null })
  tenant.look()
  tenant.run()
  tenant.follow(at('22T07:00'))
  assert.deepEqual(tenant.story, ['warn 21T12:00', 'expire 21T13:00', 'stop 21T22:00', 'start 22T06:00'])
})

test('started within the warning time it is warned then', () => {
  const tenant = new Tenant(null, at('21T11:30'), at('21T12:00'))
  tenant.rest('person')
  tenant.look()
  assert.deepEqual([tenant.story, tenant.wakeAt], [[], at('21T12:00')])
  tenant.run()
  tenant.look(at('21T11:40'))
  assert.deepEqual(tenant.story, ['warn 21T11:40'])
})

test('a clock set back a little changes nothing, set back far it is that time again, and again later', () => {
  const tenant = new Tenant(nights, at('21T12:00'))
  tenant.follow(at('22T06:00'))
  tenant.look(at('22T06:00') - 5_000)
  assert.deepEqual(tenant.story, ['stop 21T22:00', 'start 22T06:00'])
  tenant.look(at('22T03:00'))
  assert.deepEqual([tenant.story.at(-1), tenant.wakeAt], ['stop 22T03:00', at('22T06:00')])
  tenant.follow(at('22T12:00'))
  assert.equal(tenant.story.at(-1), 'start 22T06:00')
  const years = new Tenant(nights, at('21T12:00') + 1e11)
  years.look()
  years.follow(at('21T12:00') + 2e11)
  years.look(at('21T12:00'))
  years.follow(at('21T22:00'))
  assert.equal(years.story.at(-1), 'stop 21T22:00', 'a wrong year is forgotten')
})

const windows: Schedule['windows'] = [
  { days: [...days], from: '22:00', to: '06:00', timezone: 'Europe/Berlin', action: 'stop' },
  { days: ['mon', 'tue'], from: '08:00', to: '12:00', timezone: 'Europe/Berlin', action: 'scale', min: 2, max: 4 },
  { cron: '30 2 * * *', minutes: 700, timezone: 'America/New_York', action: 'sleep' },
]
type Happening =
  | { kind: 'pass' | 'jump'; minutes: number }
  | { kind: 'start' | 'stop' | 'fail' | 'away' }
  | { kind: 'schedule'; use: number }
  | { kind: 'lease'; minutes: number | null }
const happenings = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant('pass' as const), minutes: fc.integer({ min: 1, max: 900 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('jump' as const), minutes: fc.integer({ min: -3000, max: 3000 }) }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('start' as const, 'stop' as const, 'fail' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('schedule' as const), use: fc.integer({ min: 0, max: 3 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('lease' as const),
      minutes: fc.option(fc.integer({ min: 1, max: 6000 }), { nil: null }),
    }),
  },
)

/** Plays a story; throws when the calendar breaks a promise. */
function play(story: Happening[], step = calendarStep): void {
  const tenant = new Tenant({ windows: windows.slice(0, 1) }, at('21T12:00'))
  tenant.step = step
  const look = (now: number) => {
    const before = { ...tenant.view }
    const ended = before.expiresAt !== null && now >= before.expiresAt
    const acts = tenant.look(now).map((act) => act.do)
    const says: Override | null = ended || before.schedule === null ? null : scheduleAt(before.schedule, now).override
    if (acts.includes('start')) {
      assert.equal(before.stoppedBy, 'schedule', 'it starts only what it stopped')
      assert.ok(!ended && says?.action !== 'stop', 'not after the lease, nor while the schedule says stop')
    }
    if (acts.includes('stop')) assert.equal(says?.action, 'stop')
    if (ended) assert.ok(tenant.view.desired === 'stopped' || tenant.view.failed, 'nothing runs after its lease')
    assert.deepEqual(tenant.view.calendar!.override, says, 'what is in force is what the schedule says')
    if (tenant.view.stoppedBy === 'schedule') assert.equal(says?.action, 'stop', 'nothing stays down for no reason')
    assert.ok(tenant.wakeAt === null || tenant.wakeAt > now, 'it is not looked at in a spin')
    assert.deepEqual(tenant.look(now), [], 'another look at the same time does nothing')
  }
  look(tenant.now)
  for (const one of story) {
    if (one.kind === 'pass') {
      const until = tenant.now + one.minutes * 60_000
      while (tenant.wakeAt !== null && tenant.wakeAt <= until) look(tenant.wakeAt)
      tenant.now = until
    }
    if (one.kind === 'jump' && Math.abs(one.minutes) > 1) look(tenant.now + one.minutes * 60_000)
    if (one.kind === 'stop') {
      tenant.rest('person')
      tenant.view.failed = false
    }
    const over = tenant.view.expiresAt !== null && tenant.now >= tenant.view.expiresAt
    if (one.kind === 'start' && !over) {
      // Whoever starts it lets the calendar catch up first.
      look(tenant.now)
      tenant.run()
      tenant.view.failed = false
      look(tenant.now)
      assert.equal(tenant.view.desired, 'running', 'a start is not undone by the next look')
    }
    if (one.kind === 'fail' && tenant.view.desired === 'running') tenant.view.failed = true
    if (one.kind === 'schedule') {
      const schedule = one.use === 0 ? null : { windows: windows.slice(0, one.use) }
      Object.assign(tenant.view, { schedule, calendar: anew(tenant.view.calendar) })
      look(tenant.now)
    }
    if (one.kind === 'lease') {
      const expiresAt = one.minutes === null ? null : tenant.now + one.minutes * 60_000
      if (tenant.view.stoppedBy === 'lease') tenant.view.stoppedBy = 'person'
      Object.assign(tenant.view, { expiresAt })
      look(tenant.now)
    }
  }
}

const anyStory = fc.array(happenings as fc.Arbitrary<Happening>, { minLength: 1, maxLength: 30 })

test('in any story it keeps its promises', () => {
  fc.assert(
    fc.property(anyStory, (story) => play(story)),
    { numRuns: 400, seed: 20261121 },
  )
})

test('planted mistakes are found', () => {
  const planted: Record<string, typeof calendarStep> = {
    'starts whatever is stopped': (view, now, warningMs) =>
      calendarStep({ ...view, stoppedBy: view.stoppedBy === 'person' ? 'schedule' : view.stoppedBy }, now, warningMs),
    'stops at every look of the window': (view, now, warningMs) =>
      calendarStep({ ...view, calendar: view.calendar && { ...view.calendar, nextAt: now } }, now, warningMs),
    'forgets the lease': (view, now, warningMs) => calendarStep({ ...view, expiresAt: null }, now, warningMs),
    'never looks again': (view, now, warningMs) =>
      calendarStep(
        { ...view, calendar: view.calendar && { ...view.calendar, lookedAt: now, nextAt: null } },
        now,
        warningMs,
      ),
  }
  for (const [mistake, step] of Object.entries(planted))
    assert.throws(
      () =>
        fc.assert(
          fc.property(anyStory, (story) => play(story, step)),
          { numRuns: 400, seed: 20261121 },
        ),
      mistake,
    )
})
