/** Leases and schedules over the API, on the real database, by a clock that the test moves. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { CalendarLoop } from '../deployments/calendar-loop.ts'
import { HandClock } from '../deployments/testing/machines.ts'
import { systemClock, until } from '../runtime/clock.ts'
import { silentLog } from '../runtime/log.ts'
import { makeWorld, type World, wish } from './testing.ts'

// A Saturday, nine o'clock in UTC; in Berlin it is ten.
const clock = new HandClock()
let world: World
let calendar: CalendarLoop
before(async () => {
  world = await makeWorld({}, { clock })
  calendar = new CalendarLoop({ ...world.context, log: silentLog })
})
after(() => world.close())

const hourMs = 3_600_000
/** Time passes, and the calendar looks. */
async function pass(hours: number): Promise<void> {
  clock.pass(hours * hourMs)
  await calendar.tick()
}
const inHours = (hours: number) => new Date(clock.now() + hours * hourMs).toISOString()
const clockTime = (hours: number) => inHours(hours).slice(11, 16)

async function create(name: string, more: object = {}): Promise<string> {
  const made = await world.call('POST', '/deployments', { body: { ...wish(name), ...more } })
  assert.equal(made.status, 201, made.text)
  return made.json.id
}
const get = async (id: string) => (await world.call('GET', `/deployments/${id}`)).json
const patch = (id: string, body: unknown) => world.call('PATCH', `/deployments/${id}`, { body })
const post = (path: string) => world.call('POST', `/deployments/${path}`)
const put = (id: string, body: unknown) => world.call('PUT', `/deployments/${id}/schedule`, { body })
const eventsOf = async (id: string, type: string) =>
  (await world.call('GET', `/deployments/${id}/events?type=${type}`)).json.data.map((one: { data: object }) => one.data)
/** A window of UTC that is open from so many hours from now to so many. */
const window = (from: number, to: number, more: object = { action: 'stop' }) => ({
  timezone: 'UTC',
  windows: [{ from: clockTime(from), to: clockTime(to), ...more }],
})

test('given, shown, changed, taken away', async () => {
  const id = await create('plain')
  const none = await world.call('GET', `/deployments/${id}/schedule`)
  assert.deepEqual(none.json, { windows: [], active: null, next_change_at: null, why: 'There is no schedule.' })
  assert.deepEqual([(await get(id)).schedule, (await get(id)).expires_at], [null, null])
  const body = {
    timezone: 'Europe/Berlin',
    windows: [
      { days: ['mon', 'tue'], from: '08:00', to: '18:00', action: 'scale', min_replicas: 1, max_replicas: 3 },
      { cron: '0 9 * * sat', minutes: 120, timezone: 'America/New_York', action: 'sleep' },
    ],
  }
  const given = await put(id, body)
  assert.equal(given.status, 200, given.text)
  assert.deepEqual(given.json.windows, [
    { ...body.windows[0], timezone: 'Europe/Berlin' },
    { ...body.windows[1], timezone: 'America/New_York' },
  ])
  assert.deepEqual([given.json.active, given.json.next_change_at], [null, '2026-11-21T14:00:00.000Z'])
  assert.deepEqual((await get(id)).schedule, { windows: 2, active: null, next_change_at: '2026-11-21T14:00:00.000Z' })
  assert.equal((await put(id, body)).status, 200)
  assert.equal((await eventsOf(id, 'deployment.schedule_changed')).length, 1, 'the same again is no change')
  const open = await put(id, window(-1, 1, { action: 'scale', min_replicas: 2, max_replicas: 3 }))
  assert.deepEqual(open.json.active, { window: 0, action: 'scale', min_replicas: 2, max_replicas: 3, overruled: false })
  assert.match(open.json.why, /^Schedule: 2 to 3 replicas/)
  const gone = await world.call('DELETE', `/deployments/${id}/schedule`)
  assert.deepEqual([gone.status, gone.json], [200, none.json])
  assert.equal((await world.call('DELETE', `/deployments/${id}/schedule`)).status, 200)
  const turns = (await eventsOf(id, 'deployment.schedule_turned')).map((one: { says: string }) => one.says)
  assert.deepEqual(turns, ['nothing', 'scale'])
  assert.equal((await put(id, body)).json.windows.length, 2)
  assert.deepEqual((await put(id, { windows: [] })).json, none.json, 'no windows are no schedule')
})

test('a stop window: stops at its beginning, says why and until when, starts at its end', async () => {
  const id = await create('nights', { schedule: window(1, 3) })
  assert.equal((await get(id)).phase, 'starting')
  await pass(1)
  const stopping = await get(id)
  assert.deepEqual([stopping.phase, stopping.reason.message], ['stopping', 'It is being stopped by its schedule.'])
  assert.deepEqual(stopping.schedule.active, { window: 0, action: 'stop', overruled: false })
  assert.equal(stopping.schedule.next_change_at, inHours(2))
  assert.deepEqual(await eventsOf(id, 'deployment.stop_asked'), [{ by: 'schedule' }])
  // Another process after a restart finds it as it was left.
  calendar = new CalendarLoop({ ...world.context, log: silentLog })
  await pass(1.9)
  assert.equal((await get(id)).phase, 'stopping')
  await pass(0.1)
  assert.equal((await get(id)).phase, 'starting')
  assert.deepEqual(await eventsOf(id, 'deployment.start_asked'), [{ by: 'schedule' }])
  await world.call('DELETE', `/deployments/${id}`)
})

test('people have the last word: their stop stays, their start holds until the next edge', async () => {
  const id = await create('people', { schedule: window(1, 3) })
  await pass(1)
  const started = await post(`${id}/start`)
  assert.deepEqual([started.json.phase, started.json.schedule.active.overruled], ['starting', true])
  assert.equal((await world.call('GET', `/deployments/${id}/schedule`)).json.active.overruled, true)
  const { why } = (await world.call('GET', `/deployments/${id}/explain`)).json
  assert.match(why.join(' '), /Schedule: stop \(.* UTC\), until .*Z\. Somebody started it: it runs until then\./)
  await pass(1)
  assert.equal((await get(id)).phase, 'starting', 'nobody stops it again within the window')
  await post(`${id}/stop`)
  await pass(1)
  assert.equal((await get(id)).phase, 'stopping', 'the end of the window does not start what a person stopped')
  await post(`${id}/start`)
  await pass(22)
  assert.equal((await get(id)).phase, 'stopping', 'the next day it counts again')
  await post(`${id}/stop`)
  assert.equal((await eventsOf(id, 'deployment.stop_asked')).length, 4)
  await pass(2)
  assert.equal((await get(id)).phase, 'stopping', 'stopped by a person while the schedule had stopped it')
  await world.call('DELETE', `/deployments/${id}`)
})

test('a start catches up with an edge that nobody has looked at yet', async () => {
  const id = await create('late', { schedule: window(1, 3) })
  clock.pass(1.5 * hourMs)
  await post(`${id}/start`)
  assert.deepEqual(await eventsOf(id, 'deployment.start_asked'), [{ by: (await keyId()) as string }])
  await calendar.tick()
  assert.equal((await get(id)).phase, 'starting')
  await world.call('DELETE', `/deployments/${id}`)
})
const keyId = async () =>
  (await world.call('GET', '/api-keys')).json.data.find((key: { role: string }) => key.role === 'owner').id

test('created within a stop window, or given one: stopped at once; taken away: started at once', async () => {
  const id = await create('closed', { schedule: window(-1, 1) })
  const closed = await get(id)
  assert.deepEqual([closed.phase, closed.desired_replicas, closed.hourly_cost_usd], ['stopping', 0, 0])
  assert.equal((await patch(id, { schedule: null })).json.phase, 'starting')
  assert.equal((await patch(id, { schedule: window(-2, 2) })).json.phase, 'stopping')
  await world.call('DELETE', `/deployments/${id}/schedule`)
  assert.equal((await get(id)).phase, 'starting')
  await world.call('DELETE', `/deployments/${id}`)
})

test('no room in the quota at the end of the window: it says so once, and starts when there is', async () => {
  const id = await create('wide', { gpu_type: 'h100', replicas: 6, schedule: window(1, 2) })
  await pass(1)
  const other = await create('greedy', { gpu_type: 'h100', replicas: 4 })
  await pass(1)
  await pass(1)
  assert.equal((await get(id)).phase, 'stopping')
  const refused = await eventsOf(id, 'deployment.start_refused')
  assert.equal(refused.length, 1)
  assert.match(refused[0].why, /needs 6 GPUs; the organisation holds 4 of 8/)
  await world.call('DELETE', `/deployments/${other}`)
  await pass(0.1)
  assert.equal((await get(id)).phase, 'starting')
  await world.call('DELETE', `/deployments/${id}`)
})

test('a lease: warned of, ended, and nothing but a later one and a start brings it back', async () => {
  const id = await create('lent', { expires_at: inHours(5) })
  assert.equal((await get(id)).expires_at, inHours(5))
  await pass(4.01)
  assert.deepEqual(await eventsOf(id, 'deployment.expiring'), [{ expires_at: inHours(0.99) }])
  await pass(1)
  const ended = await get(id)
  assert.deepEqual([ended.phase, ended.reason.message], ['stopping', 'It is being stopped: its lease has ended.'])
  assert.equal((await eventsOf(id, 'deployment.expired')).length, 1)
  for (const verb of ['start', 'restart']) {
    const refused = await post(`${id}/${verb}`)
    assert.deepEqual([refused.status, refused.json.error.code], [409, 'conflict'], refused.text)
    assert.match(refused.json.error.message, /Its lease ended at 2026-/)
    assert.match(refused.json.error.action, /later expires_at/)
  }
  const prolonged = await patch(id, { expires_at: inHours(1.5) })
  assert.deepEqual([prolonged.json.phase, prolonged.json.expires_at], ['stopping', inHours(1.5)])
  assert.equal((await post(`${id}/start`)).json.phase, 'starting')
  await pass(0.6)
  assert.equal((await eventsOf(id, 'deployment.expiring')).length, 2)
  assert.equal((await patch(id, { expires_at: null })).json.expires_at, null)
  await pass(10)
  assert.equal((await get(id)).phase, 'starting')
  const told = (await eventsOf(id, 'deployment.lease_changed')).map((one: { expires_at: string }) => one.expires_at)
  assert.deepEqual([told.length, told[0]], [2, null])
  await world.call('DELETE', `/deployments/${id}`)
})

test('a lease that ended while nobody looked is ended at the next look; the schedule does not start it again', async () => {
  const id = await create('away', { expires_at: inHours(2), schedule: window(1, 3) })
  await pass(1)
  calendar = new CalendarLoop({ ...world.context, log: silentLog })
  await pass(30)
  const ended = await get(id)
  assert.equal(ended.phase, 'stopping')
  assert.deepEqual(ended.schedule, { windows: 1, active: null, next_change_at: null })
  assert.match((await world.call('GET', `/deployments/${id}/schedule`)).json.why, /^The lease ended at/)
  await pass(30)
  assert.equal((await get(id)).phase, 'stopping')
  await world.call('DELETE', `/deployments/${id}`)
})

test('a lease that is prolonged wins, also when its end is being looked at', async () => {
  const id = await create('race', { expires_at: inHours(1) })
  clock.pass(1.5 * hourMs)
  assert.equal((await patch(id, { expires_at: inHours(1) })).status, 200)
  await calendar.tick()
  assert.equal((await get(id)).phase, 'starting')
  clock.pass(2 * hourMs)
  let looked: Promise<void> = Promise.resolve()
  await world.db.tx(async (tx) => {
    await tx.query('update deployments set expires_at = $2 where id = $1', [id, new Date(clock.now() + hourMs)])
    // It finds the row due as it was, waits for its lock, and decides by what it finds then.
    looked = calendar.tick()
    await until(systemClock, 'the calendar waits for the lock', 10_000, async () => {
      const waiting = await world.db.query(`select 1 from pg_locks where not granted`, [])
      return waiting.length > 0
    })
  })
  await looked
  assert.deepEqual([(await get(id)).phase, await eventsOf(id, 'deployment.expired')], ['starting', []])
  await world.call('DELETE', `/deployments/${id}`)
})

test('many changes of a lease and a schedule while the calendar looks all the time: one end, or none', async () => {
  const id = await create('storm', { expires_at: inHours(1) })
  clock.pass(0.99 * hourMs)
  const work = Array.from({ length: 6 }, async (_, at) => {
    clock.pass(60_000)
    await Promise.all([
      calendar.tick(),
      patch(id, { expires_at: inHours(at % 2 === 0 ? 1 : 0.02) }),
      put(id, window(at % 2 === 0 ? -1 : 1, 4)),
    ])
  })
  await Promise.all(work)
  await patch(id, { expires_at: inHours(0.1), schedule: null })
  await pass(1)
  const last = await get(id)
  assert.equal(last.phase, 'stopping')
  assert.equal(last.schedule, null)
  await world.call('DELETE', `/deployments/${id}`)
})

test('what cannot be read is put off, and keeps nobody else waiting', async () => {
  const broken = await create('broken', { schedule: window(1, 2) })
  const fine = await create('fine', { schedule: window(1, 2) })
  const nonsense = { windows: [{ cron: 'never', minutes: 1, timezone: 'UTC', action: 'stop' }] }
  await world.db.run('update deployments set schedule = $2 where id = $1', [broken, JSON.stringify(nonsense)])
  await pass(1)
  assert.deepEqual([(await get(broken)).phase, (await get(fine)).phase], ['starting', 'stopping'])
  for (const id of [broken, fine]) await world.call('DELETE', `/deployments/${id}`)
})

const wrong: [what: string, schedule: unknown, says: RegExp][] = [
  ['no windows', {}, /windows: is required/],
  ['an unknown field', { windows: [], zone: 'UTC' }, /Unknown field "(schedule\.)?zone"/],
  [
    'an unknown field of a window',
    { windows: [{ action: 'stop', at: '8' }] },
    /Unknown field "(schedule\.)?windows\[0\]\.at"/,
  ],
  ['no action', { windows: [{ from: '08:00', to: '09:00' }] }, /windows\[0\]\.action: is required/],
  [
    'an action that nobody knows',
    { windows: [{ action: 'pause' }] },
    /action: must be one of scale, sleep, stop; seen: "pause"/,
  ],
  ['a zone that is none', window(0, 1, { action: 'stop', timezone: 'Mars/Olympus' }), /no time zone "Mars\/Olympus"/],
  ['no zone', { windows: [{ from: '08:00', to: '09:00', action: 'stop' }] }, /windows\[0\]\.timezone is missing/],
  [
    'a pattern that is none',
    { timezone: 'UTC', windows: [{ cron: '0 25 * * *', minutes: 5, action: 'stop' }] },
    /cron has "25" as its hour/,
  ],
  [
    'longer than its period',
    { timezone: 'UTC', windows: [{ cron: '0 8 * * *', minutes: 1500, action: 'stop' }] },
    /longer than its period/,
  ],
  [
    'a day that never comes',
    { timezone: 'UTC', windows: [{ cron: '0 8 30 2 *', minutes: 5, action: 'stop' }] },
    /never begins/,
  ],
  ['a day in a wrong word', { windows: [{ days: ['monday'], action: 'stop' }] }, /days\[0\]: must be one of sun, mon/],
  [
    'a floor above the ceiling',
    window(0, 1, { action: 'scale', min_replicas: 3, max_replicas: 2 }),
    /min_replicas \(3\) is above max_replicas \(2\)/,
  ],
  [
    'more than the server allows',
    window(0, 1, { action: 'scale', min_replicas: 1, max_replicas: 11 }),
    /max_replicas must be a whole number from 1 to 10/,
  ],
  ['limits for one that stops', window(0, 1, { action: 'stop', min_replicas: 1 }), /go with action scale/],
  [
    'too many windows',
    { timezone: 'UTC', windows: Array.from({ length: 21 }, () => window(0, 1).windows[0]) },
    /windows are 21; a schedule has at most 20/,
  ],
]
for (const [what, schedule, says] of wrong)
  test(`a schedule with ${what}: 400, put, patched and created with, and nothing changes`, async () => {
    const { id } = await get('plain')
    for (const answer of [
      await put(id, schedule),
      await patch(id, { schedule }),
      await world.call('POST', '/deployments', { body: { ...wish('wrong'), schedule } }),
    ]) {
      assert.equal(answer.status, 400, answer.text)
      assert.match(answer.json.error.message, says)
    }
    assert.deepEqual([(await get(id)).schedule, (await world.call('GET', '/deployments/wrong')).status], [null, 404])
  })

test('29 February is a day', async () => {
  const schedule = { timezone: 'Asia/Kolkata', windows: [{ cron: '30 5 29 2 *', minutes: 60, action: 'stop' }] }
  const given = await put('plain', schedule)
  assert.deepEqual([given.status, given.json.next_change_at], [200, '2028-02-29T00:00:00.000Z'])
  await world.call('DELETE', '/deployments/plain/schedule')
})

test('an end of lease that is no time, or past: 400', async () => {
  const times: [unknown, RegExp][] = [
    [inHours(0), /expires_at \(2026-.*\) is in the past/],
    ['2020-01-01T00:00:00+02:00', /is in the past/],
    ['tomorrow', /expires_at: /],
    ['2027-01-01', /expires_at: /],
    ['2027-01-01T00:00:00', /expires_at: /],
    ['2027-02-30T00:00:00Z', /expires_at: /],
    [1_800_000_000, /expires_at: /],
  ]
  for (const [expires_at, says] of times)
    for (const answer of [
      await patch('plain', { expires_at }),
      await world.call('POST', '/deployments', { body: { ...wish('wrong'), expires_at } }),
    ]) {
      assert.equal(answer.status, 400, `${expires_at}: ${answer.text}`)
      assert.match(answer.json.error.message, says)
    }
  assert.equal(
    (await patch('plain', { expires_at: '2027-01-01T00:00:00+05:30' })).json.expires_at,
    '2026-12-31T18:30:00.000Z',
  )
  assert.equal((await patch('plain', { engine: { max_num_seqs: 2 } })).json.expires_at, '2026-12-31T18:30:00.000Z')
})

test('of another organisation: not there', async () => {
  const id = (await get('plain')).id
  for (const [method, body] of [['GET'], ['DELETE'], ['PUT', { windows: [] }]] as const) {
    const answer = await world.call(method, `/deployments/${id}/schedule`, { key: world.keys.ownerB, body })
    assert.equal(answer.status, 404, method)
  }
})
