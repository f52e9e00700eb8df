import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Fault } from '../kernel/fault.ts'
import {
  checkSchedule,
  type Day,
  days,
  noSchedule,
  type Schedule,
  type ScheduleWindow,
  scheduleAt,
} from './schedule.ts'
import { instantOf, isTimezone, wallAt } from './zone.ts'

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
const of = (...windows: ScheduleWindow[]): Schedule => ({ expiresAt: null, windows })

/** Every change from `begin` on, by following nextChangeAt. */
function changes(schedule: Schedule, begin: string, count: number): string[] {
  let now = at(begin)
  return Array.from({ length: count }, () => {
    now = scheduleAt(schedule, now).nextChangeAt!
    return `${iso(now)} ${scheduleAt(schedule, now).override?.action ?? 'none'}`
  })
}

test('no schedule says nothing and never changes', () => {
  const { override, nextChangeAt, expired } = scheduleAt(noSchedule, at('2026-01-01T00:00:00Z'))
  assert.deepEqual([override, nextChangeAt, expired], [null, null, false])
})

test('a window says what it says from its first to its last moment', () => {
  const schedule = of(scales('08:00', '18:00', 'UTC', 2, 6, ['mon']))
  const { override, nextChangeAt, why } = scheduleAt(schedule, at('2026-11-23T08:00:00Z'))
  assert.deepEqual(override, { action: 'scale', min: 2, max: 6 })
  assert.equal(iso(nextChangeAt), '2026-11-23T18:00:00Z')
  assert.match(why, /2 to 6 replicas from 08:00 to 18:00 UTC/)
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

test('a lease ends once and for all', () => {
  const schedule: Schedule = { expiresAt: at('2026-01-01T10:30:00Z'), windows: [sleeps('12:00', '13:00', 'UTC')] }
  const before = scheduleAt(schedule, at('2026-01-01T10:00:00Z'))
  assert.deepEqual([before.override, before.expired, iso(before.nextChangeAt)], [null, false, '2026-01-01T10:30:00Z'])
  const after = scheduleAt(schedule, schedule.expiresAt!)
  assert.deepEqual([after.override, after.expired, after.nextChangeAt], [{ action: 'stop' }, true, null])
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

test('what is wrong is said, all of it', () => {
  const now = at('2026-01-01T00:00:00Z')
  const wrong: Schedule = {
    expiresAt: now,
    windows: [
      { days: [], from: '8:00', to: '25:00', timezone: 'Mars/Olympus', action: 'scale', min: 3, max: 2 },
      { days: ['monday' as Day], from: '10:00', to: '10:00', timezone: 'UTC', action: 'scale', min: 0, max: 11 },
    ],
  }
  try {
    checkSchedule(wrong, now, 10)
    assert.fail('accepted')
  } catch (error) {
    assert.ok(error instanceof Fault)
    for (const part of [
      'expires_at is in the past.',
      'windows[0].days is empty.',
      'windows[0].from must be a time such as 08:30.',
      'windows[0].to must be',
      'there is no time zone "Mars/Olympus"',
      'windows[0].min (3) is above its max (2).',
      'windows[1].days: monday is none of',
      'windows[1]: from and to are the same',
      'windows[1].max must be a whole number from 1 to 10.',
    ])
      assert.ok(error.message.includes(part), `${part} in: ${error.message}`)
  }
  const fine = of(sleeps('00:00', '24:00', 'Europe/Berlin'), scales('22:00', '00:00', '+02:00', 0, 10))
  assert.equal(checkSchedule(fine, now, 10), fine)
  const many = of(...Array.from({ length: 21 }, () => sleeps('01:00', '02:00', 'UTC')))
  assert.throws(() => checkSchedule(many, now, 10), /at most 20 windows/)
  assert.equal(isTimezone(''), false)
})
