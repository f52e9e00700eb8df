import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Fault } from '../kernel/fault.ts'
import { type Day, days } from './schedule.ts'
import { makeSchedule, type ScheduleWish } from './schedule-check.ts'
import { isTimezone } from './zone.ts'

const limits = { replicasMaximum: 10, scheduleWindowsMaximum: 20 }

test('what is wrong is said, all of it', () => {
  const wrong: ScheduleWish = {
    timezone: 'Mars/Olympus',
    windows: [
      { days: [], from: '8:00', to: '25:00', action: 'scale', minReplicas: 3, maxReplicas: 2 },
      {
        days: ['monday' as Day],
        from: '10:00',
        to: '10:00',
        timezone: 'UTC',
        action: 'scale',
        minReplicas: 0,
        maxReplicas: 11,
      },
      { cron: '0 8 30 2 *', minutes: 5, timezone: 'Europe/Nowhere', action: 'stop', minReplicas: 1 },
      { cron: '0 8 * * *', minutes: 1441, timezone: 'UTC', action: 'sleep' },
      { cron: '0 8 * * *', from: '08:00', action: 'sleep' },
      { minutes: 5, action: 'sleep' },
      { cron: '*/5 * * * *', minutes: 1, action: 'sleep' },
      { action: 'scale', from: '08:00' },
    ],
  }
  try {
    makeSchedule(wrong, limits, 'schedule.')
    assert.fail('accepted')
  } catch (error) {
    assert.ok(error instanceof Fault)
    for (const part of [
      'schedule.timezone: there is no time zone "Mars/Olympus"',
      'schedule.windows[0].days is empty.',
      'schedule.windows[0].from must be a time such as 08:30.',
      'schedule.windows[0].to must be',
      'schedule.windows[0].min_replicas (3) is above max_replicas (2).',
      'schedule.windows[1].days: monday is none of',
      'schedule.windows[1]: from and to are the same',
      'schedule.windows[1].max_replicas must be a whole number from 1 to 10.',
      'schedule.windows[2].cron never begins',
      'schedule.windows[2].timezone: there is no time zone "Europe/Nowhere"',
      'schedule.windows[2]: min_replicas and max_replicas go with action scale, not stop.',
      'schedule.windows[3].minutes (1441) is longer than its period: it begins again after 1440 minutes.',
      'schedule.windows[4] has both kinds of times',
      'schedule.windows[4].minutes is missing',
      'schedule.windows[5].cron is missing',
      'schedule.windows[6].cron begins 288 times a day; at most 24',
      'schedule.windows[7].to must be',
      'schedule.windows[7].min_replicas must be a whole number from 0 to 10.',
    ])
      assert.ok(error.message.includes(part), `${part} in: ${error.message}`)
  }
})

test('a time zone is needed, and windows are bounded', () => {
  const nowhere = { windows: [{ from: '08:00', to: '09:00', action: 'stop' as const }] }
  assert.throws(() => makeSchedule(nowhere, limits), /^Fault: windows\[0\]\.timezone is missing/)
  const many = Array.from({ length: 21 }, () => ({ from: '01:00', to: '02:00', action: 'sleep' as const }))
  assert.throws(
    () => makeSchedule({ timezone: 'UTC', windows: many }, limits),
    /windows are 21; a schedule has at most 20/,
  )
  assert.equal(isTimezone(''), false)
})

test('what is right is made exact', () => {
  assert.deepEqual(
    makeSchedule(
      {
        timezone: 'Europe/Berlin',
        windows: [
          { from: '00:00', to: '24:00', action: 'sleep' },
          {
            days: ['mon'],
            from: '22:00',
            to: '00:00',
            timezone: '+02:00',
            action: 'scale',
            minReplicas: 0,
            maxReplicas: 10,
          },
          { cron: '0 8 * * *', minutes: 1440, action: 'stop' },
        ],
      },
      limits,
    ),
    {
      windows: [
        { days: [...days], from: '00:00', to: '24:00', timezone: 'Europe/Berlin', action: 'sleep' },
        { days: ['mon'], from: '22:00', to: '00:00', timezone: '+02:00', action: 'scale', min: 0, max: 10 },
        { cron: '0 8 * * *', minutes: 1440, timezone: 'Europe/Berlin', action: 'stop' },
      ],
    },
  )
})
