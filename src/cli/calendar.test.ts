import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { calendarBody, calendarText, expiresOption } from './calendar.ts'
import { deployBody } from './deploy.ts'
import { Failure } from './failure.ts'

const folder = mkdtempSync(join(tmpdir(), 'paddock-calendar-'))
after(() => rmSync(folder, { recursive: true }))
const now = Date.UTC(2026, 10, 21, 9)
const isUsage = (said: RegExp) => (error: unknown) =>
  error instanceof Failure && error.status === 2 && said.test(error.message)

test('an end of lease: from now on, at a time, or never', () => {
  assert.equal(expiresOption('8h', now), '2026-11-21T17:00:00.000Z')
  assert.equal(expiresOption('30d', now), '2026-12-21T09:00:00.000Z')
  assert.equal(expiresOption('2027-01-31T18:00:00+01:00', now), '2027-01-31T18:00:00+01:00')
  assert.equal(expiresOption('never', now), null)
  for (const wrong of ['', '0', 'soon', '-1h', '2027-01-31', '2027-01-31T18:00:00', '2027-13-31T18:00:00Z'])
    assert.throws(() => expiresOption(wrong, now), isUsage(/--expires must be a time such as 8h/), wrong)
})

test('a schedule is a file of JSON, which the server checks; none takes it away; nothing typed is nothing sent', async () => {
  const file = join(folder, 'office.json')
  const schedule = { timezone: 'UTC', windows: [{ from: '08:00', to: '18:00', action: 'stop' }] }
  writeFileSync(file, JSON.stringify(schedule))
  assert.deepEqual(await calendarBody({ schedule: file, expires: 'never' }, now), { schedule, expires_at: null })
  assert.deepEqual(await calendarBody({ schedule: false }, now), { schedule: null })
  assert.deepEqual(await calendarBody({}, now), {})
  writeFileSync(file, '{windows: []}')
  await assert.rejects(calendarBody({ schedule: file }, now), isUsage(/office\.json is not JSON/))
  await assert.rejects(calendarBody({ schedule: join(folder, 'none') }, now), isUsage(/cannot be read: ENOENT/))
})

test('what is told of lease and schedule', () => {
  const at = (hours: number) => new Date(now + hours * 3_600_000).toISOString()
  const told = (d: Parameters<typeof calendarText>[0]) => calendarText(d, new Date(now)).map(([, text]) => text)
  assert.deepEqual(told({ expires_at: null, schedule: null }), [])
  assert.match(told({ expires_at: at(2), schedule: null })[0]!, /^ends in 2h 00m, /)
  assert.match(told({ expires_at: at(-2), schedule: null })[0]!, /^ended at /)
  const active = { window: 0, action: 'scale' as const, min_replicas: 2, max_replicas: 4, overruled: false }
  const schedule = { windows: 2, active, next_change_at: at(1) }
  assert.match(told({ expires_at: null, schedule })[0]!, /^2 to 4 replicas until /)
  const stop = { ...active, action: 'stop' as const, overruled: true }
  const overruled = { windows: 1, active: stop, next_change_at: null }
  assert.deepEqual(told({ expires_at: null, schedule: overruled }), ['stop, but somebody started it: it runs'])
  const closed = { windows: 1, active: null, next_change_at: null }
  assert.deepEqual(told({ expires_at: null, schedule: closed }), ['1 window, none open'])
})

test('with a preset, hardware and number are the preset’s unless they are typed', () => {
  const options = { preset: 'cost', timeout: '10m' }
  const least = { name: 'starter', model_id: 'paddock/starter' }
  assert.deepEqual(deployBody('paddock/starter', options), { ...least, preset: 'cost' })
  const typed = { ...options, gpu: 'cpu', replicas: '2' }
  assert.deepEqual(deployBody('paddock/starter', typed), { ...least, preset: 'cost', gpu_type: 'cpu', replicas: 2 })
})
