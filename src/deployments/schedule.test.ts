import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Day, days, type Override, type Schedule, type ScheduleWindow, scheduleAt } from './schedule.ts'
import { instantOf, wallAt } from './zone.ts'

const daily = [...days]
const at = (text: string) => Date.parse(text)
const iso = (moment: number | null) => (moment === null ? null : new Date(moment).toISOString().replace('.000Z', 'Z'))

function sleeps(from: string, to: string, timezone: string, on: Day[] = daily): ScheduleWindow {
  return { days: on, from, to, timezone, action: 'sleep' }
}
function scales(
  from: string,
  to: string,
  timezone: string,
  min: number,
  max: number,
  on: Day[] = daily,
): ScheduleWindow {
  return { days: on, from, to, timezone, action: 'scale', min, max }
}
const of = (...windows: ScheduleWindow[]): Schedule => ({ windows })
const stops = (cron: string, minutes: number, timezone: string): ScheduleWindow => ({
  cron,
  minutes,
  timezone,
  action: 'stop',
})

/** Every change from `begin` on, by following nextChangeAt. */
function changes(schedule: Schedule, begin: string, count: number): string[] {
  let now = at(begin)
  return Array.from({ length: count }, () => {
    now = scheduleAt(schedule, now).nextChangeAt!
    return `${iso(now)} ${scheduleAt(schedule, now).override?.action ?? 'none'}`
  })
}

test('no schedule says nothing and never changes', () => {
  const { override, nextChangeAt, window } = scheduleAt(of(), at('2026-01-01T00:00:00Z'))
  assert.deepEqual([override, nextChangeAt, window], [null, null, null])
})

test('a window says what it says from its first to its last moment', () => {
  const schedule = of(scales('08:00', '18:00', 'UTC', 2, 6, ['mon']))
  const { override, nextChangeAt, why } = scheduleAt(schedule, at('2026-11-23T08:00:00Z'))
  assert.deepEqual(override, { action: 'scale', min: 2, max: 6 })
  assert.equal(iso(nextChangeAt), '2026-11-23T18:00:00Z')
  assert.match(why, /2 to 6 replicas \(08:00 to 18:00 UTC\), until 2026-11-23T18:00:00\.000Z/)
  assert.equal(scheduleAt(schedule, at('2026-11-23T07:59:59.999Z')).override, null)
  assert.equal(scheduleAt(schedule, at('2026-11-23T18:00:00Z')).override, null)
  assert.equal(iso(scheduleAt(schedule, at('2026-11-23T18:00:00Z')).nextChangeAt), '2026-11-30T08:00:00Z')
})

test('an overnight window belongs to the day on which it begins', () => {
  const schedule = of(sleeps('22:00', '06:00', 'UTC', ['fri']))
  assert.deepEqual(changes(schedule, '2026-11-23T00:00:00Z', 3), [
    '2026-11-27T22:00:00Z sleep',
    '2026-11-28T06:00:00Z none',
    '2026-12-04T22:00:00Z sleep',
  ])
})

test('Europe/Berlin, clocks set forward: the night is an hour shorter', () => {
  assert.deepEqual(changes(of(sleeps('22:00', '06:00', 'Europe/Berlin')), '2026-03-28T12:00:00Z', 4), [
    '2026-03-28T21:00:00Z sleep',
    '2026-03-29T04:00:00Z none',
    '2026-03-29T20:00:00Z sleep',
    '2026-03-30T04:00:00Z none',
  ])
})

test('Europe/Berlin, clocks set back: the night is an hour longer', () => {
  assert.deepEqual(changes(of(sleeps('22:00', '06:00', 'Europe/Berlin')), '2026-10-24T12:00:00Z', 2), [
    '2026-10-24T20:00:00Z sleep',
    '2026-10-25T05:00:00Z none',
  ])
})

test('a time that never comes is the moment of the change; a window all within it does not open', () => {
  // 02:00 to 03:00 is left out on 29 March in Berlin, on 8 March in New York.
  assert.deepEqual(changes(of(sleeps('02:30', '05:00', 'Europe/Berlin')), '2026-03-29T00:00:00Z', 2), [
    '2026-03-29T01:00:00Z sleep',
    '2026-03-29T03:00:00Z none',
  ])
  assert.deepEqual(changes(of(sleeps('02:10', '02:50', 'America/New_York')), '2026-03-07T12:00:00Z', 2), [
    '2026-03-09T06:10:00Z sleep',
    '2026-03-09T06:50:00Z none',
  ])
  // Once a week, and just then: the next turn is a week later.
  assert.deepEqual(changes(of(sleeps('02:10', '02:50', 'America/New_York', ['sun'])), '2026-03-07T12:00:00Z', 1), [
    '2026-03-15T06:10:00Z sleep',
  ])
})

test('a time that comes twice is the first of the two', () => {
  // 01:00 to 02:00 comes twice on 1 November in New York: 05:00Z and 06:00Z.
  assert.deepEqual(changes(of(sleeps('01:30', '04:00', 'America/New_York')), '2026-11-01T04:00:00Z', 2), [
    '2026-11-01T05:30:00Z sleep',
    '2026-11-01T09:00:00Z none',
  ])
  assert.deepEqual(changes(of(sleeps('23:00', '01:30', 'America/New_York')), '2026-10-31T12:00:00Z', 2), [
    '2026-11-01T03:00:00Z sleep',
    '2026-11-01T05:30:00Z none',
  ])
})

test('a day has 23, 24 or 25 hours', () => {
  for (const [day, hours] of [
    ['2026-03-08', 23],
    ['2026-03-09', 24],
    ['2026-11-01', 25],
  ] as const) {
    const from = instantOf(at(`${day}T00:00:00Z`), 'America/New_York')
    const to = instantOf(at(`${day}T00:00:00Z`) + 86_400_000, 'America/New_York')
    assert.equal((to - from) / 3_600_000, hours, day)
  }
})

test('windows that meet still meet when clocks change, and all day every day never changes', () => {
  for (const timezone of ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe']) {
    const halves = of(scales('02:15', '14:00', timezone, 1, 2), scales('14:00', '02:15', timezone, 3, 4))
    for (const begin of ['2026-03-07', '2026-03-28', '2026-04-04', '2026-10-03', '2026-10-24', '2026-10-31'])
      for (let minute = 0; minute < 1.5 * 1440; minute += 75)
        assert.notEqual(scheduleAt(halves, at(`${begin}T00:00:00Z`) + minute * 60_000).override, null)
    const always = of(sleeps('00:00', '24:00', timezone))
    assert.deepEqual(scheduleAt(always, at('2026-10-24T00:00:00Z')).nextChangeAt, null)
  }
})

test('a day that a country left out is left out', () => {
  // Samoa went from 29 to 31 December 2011.
  assert.equal(iso(instantOf(at('2011-12-30T12:00:00Z'), 'Pacific/Apia')), '2011-12-30T10:00:00Z')
})

test('the first in the list counts where windows overlap', () => {
  const schedule = of(scales('12:00', '13:00', 'UTC', 5, 5), sleeps('00:00', '24:00', 'UTC'))
  assert.deepEqual(changes(schedule, '2026-01-01T00:00:00Z', 2), [
    '2026-01-01T12:00:00Z scale',
    '2026-01-01T13:00:00Z sleep',
  ])
})

test('nothing changes before nextChangeAt, something does at it, and the wall agrees', () => {
  const clock = fc
    .tuple(fc.integer({ min: 0, max: 23 }), fc.integer({ min: 0, max: 59 }))
    .map((pair) => pair.map((part) => String(part).padStart(2, '0')).join(':'))
  const zones = fc.constantFrom(
    'Europe/Berlin',
    'America/New_York',
    'Asia/Kolkata',
    'Australia/Lord_Howe',
    'UTC',
    '+05:45',
  )
  const moments = fc.integer({ min: at('2025-01-01T00:00:00Z'), max: at('2030-01-01T00:00:00Z') })
  const property = fc.property(
    clock,
    clock,
    zones,
    moments,
    fc.double({ min: 0, max: 1, noNaN: true }),
    (from, to, zone, now, share) => {
      if (from === to) return
      const schedule = of(sleeps(from, to, zone))
      const { override, nextChangeAt } = scheduleAt(schedule, now)
      const next = nextChangeAt!
      assert.ok(next > now)
      const between = now + Math.floor((next - 1 - now) * share)
      assert.deepEqual(scheduleAt(schedule, between).override, override)
      assert.notDeepEqual(scheduleAt(schedule, next).override, override)
      assert.equal(instantOf(wallAt(now, zone), zone) <= now, true)
    },
  )
  fc.assert(property, { numRuns: 100, seed: 20261121 })
})

test('of several windows: nothing changes before nextChangeAt, something does at it', () => {
  const times = fc.constantFrom('00:00', '01:30', '02:15', '08:00', '17:45', '23:59')
  const patterns = fc.constantFrom('0 8 * * *', '30 2 * * sun', '15 */6 * * *', '0 0 1 * *', '45 23 28 2 *')
  const zone = fc.constantFrom('Europe/Berlin', 'America/New_York', 'UTC')
  const said = fc.constantFrom<Override>({ action: 'sleep' }, { action: 'stop' }, { action: 'scale', min: 1, max: 2 })
  const weekly = fc
    .tuple(fc.subarray(daily, { minLength: 1 }), times, fc.constantFrom('04:00', '12:00', '24:00'), zone, said)
    .map(([on, from, to, timezone, override]): ScheduleWindow => ({ days: on, from, to, timezone, ...override }))
  const patterned = fc
    .tuple(patterns, fc.integer({ min: 1, max: 360 }), zone, said)
    .map(([cron, minutes, timezone, override]): ScheduleWindow => ({ cron, minutes, timezone, ...override }))
  const windows = fc.array(fc.oneof(weekly, patterned), { minLength: 2, maxLength: 4 })
  const moments = fc.integer({ min: at('2026-01-01T00:00:00Z'), max: at('2029-01-01T00:00:00Z') })
  const share = fc.double({ min: 0, max: 1, noNaN: true })
  const property = fc.property(windows, moments, share, (all, now, part) => {
    const schedule = of(...all)
    const { override, nextChangeAt } = scheduleAt(schedule, now)
    if (nextChangeAt === null) return
    assert.ok(nextChangeAt > now)
    const between = now + Math.floor((nextChangeAt - 1 - now) * part)
    assert.deepEqual(scheduleAt(schedule, between).override, override)
    if (nextChangeAt - now < 16 * 86_400_000) assert.notDeepEqual(scheduleAt(schedule, nextChangeAt).override, override)
  })
  fc.assert(property, { numRuns: 150, seed: 20261121 })
})

test('cron: begins when the pattern says, on the wall, and lasts its minutes', () => {
  const nights = of(stops('0 22 * * mon-fri', 480, 'Europe/Berlin'))
  assert.deepEqual(changes(nights, '2026-11-20T12:00:00Z', 4), [
    '2026-11-20T21:00:00Z stop',
    '2026-11-21T05:00:00Z none',
    '2026-11-23T21:00:00Z stop',
    '2026-11-24T05:00:00Z none',
  ])
  // Clocks are set back on 25 October: 480 minutes pass, so the wall shows 05:00 at the end.
  const sunday = of(stops('0 22 * * sat', 480, 'Europe/Berlin'))
  assert.deepEqual(changes(sunday, '2026-10-24T12:00:00Z', 2), [
    '2026-10-24T20:00:00Z stop',
    '2026-10-25T04:00:00Z none',
  ])
  // Set forward on 29 March: 02:30 never comes and is the moment of the change.
  assert.deepEqual(changes(of(stops('30 2 * * *', 60, 'Europe/Berlin')), '2026-03-29T00:00:00Z', 2), [
    '2026-03-29T01:00:00Z stop',
    '2026-03-29T02:00:00Z none',
  ])
})

test('cron: one that lasts for weeks is seen from its middle, and the next turn over the end of the year', () => {
  const december = of(stops('0 0 20 12 *', 20 * 1440, 'UTC'))
  const within = scheduleAt(december, at('2027-01-05T00:00:00Z'))
  assert.deepEqual([within.override?.action, iso(within.nextChangeAt)], ['stop', '2027-01-09T00:00:00Z'])
  assert.equal(iso(scheduleAt(december, at('2027-01-10T00:00:00Z')).nextChangeAt), '2027-12-20T00:00:00Z')
})

test('cron: 29 February is once in four years, or in eight', () => {
  const leap = of(stops('0 9 29 2 *', 60, 'UTC'))
  assert.deepEqual(changes(leap, '2026-11-21T00:00:00Z', 3), [
    '2028-02-29T09:00:00Z stop',
    '2028-02-29T10:00:00Z none',
    '2032-02-29T09:00:00Z stop',
  ])
  assert.equal(iso(scheduleAt(leap, at('2096-03-01T00:00:00Z')).nextChangeAt), '2104-02-29T09:00:00Z')
})

test('turns that meet are one; a window that is always open hides what comes after it', () => {
  const weekend = of({ ...sleeps('00:00', '24:00', 'Europe/Berlin', ['sat', 'sun']), action: 'stop' })
  assert.deepEqual(changes(weekend, '2026-11-20T12:00:00Z', 2), [
    '2026-11-20T23:00:00Z stop',
    '2026-11-22T23:00:00Z none',
  ])
  const always = sleeps('00:00', '24:00', 'UTC')
  const hourly: ScheduleWindow = stops('0 * * * *', 30, 'UTC')
  assert.equal(scheduleAt(of(always), at('2026-11-20T12:00:00Z')).nextChangeAt, null)
  const hidden = scheduleAt(of(always, hourly), at('2026-11-20T12:10:00Z'))
  assert.deepEqual([hidden.window, hidden.override], [0, { action: 'sleep' }])
  const known = hidden.nextChangeAt!
  assert.ok(known > at('2026-12-01T00:00:00Z'), 'looked at again in weeks, not at every edge that changes nothing')
  assert.deepEqual(scheduleAt(of(hourly, always), at('2026-11-20T12:10:00Z')).window, 0)
})

test('cron: the 13th, and every Friday', () => {
  const either = of(stops('0 0 13 * fri', 60, 'UTC'))
  const begins = changes(either, '2026-11-12T00:00:00Z', 4).filter((change) => change.endsWith('stop'))
  assert.deepEqual(begins, ['2026-11-13T00:00:00Z stop', '2026-11-20T00:00:00Z stop'])
})
