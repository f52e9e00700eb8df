/** Scaling over the API: the policy as sent and shown, limits that move what is wanted, wake and sleep, the quota. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { makeWorld, type World, wish } from './testing.ts'

let world: World
before(async () => {
  world = await makeWorld()
})
after(() => world.close())

async function create(name: string, more: object = {}): Promise<string> {
  const made = await world.call('POST', '/deployments', { body: { ...wish(name), ...more } })
  assert.equal(made.status, 201, made.text)
  return made.json.id
}

const scalingOf = async (id: string) => (await world.call('GET', `/deployments/${id}/scaling`)).json
const patch = (id: string, body: unknown) => world.call('PATCH', `/deployments/${id}/scaling`, { body })
const decisionsOf = async (id: string) => (await world.call('GET', `/deployments/${id}/scaling/decisions`)).json.data
const eventsOf = async (id: string, query = '') =>
  (await world.call('GET', `/deployments/${id}/events${query}`)).json.data as {
    type: string
    at: string
    data: Record<string, unknown>
  }[]

test('created without a word about replicas: 1 to 2; with a number: exactly that; the most it can cost', async () => {
  const free = await create('free', { gpu_type: 'h100' })
  assert.deepEqual(await scalingOf(free), {
    autoscaling_enabled: true,
    policy: 'steps',
    min_replicas: 1,
    max_replicas: 2,
    scale_to_zero: false,
    idle_timeout_seconds: 300,
    cooldown_seconds: 300,
    target_concurrency: null,
    inactive_timeout_minutes: 0,
    cold_start_target_seconds: null,
    desired_replicas: 1,
    ready_replicas: 0,
  })
  const shown = (await world.call('GET', `/deployments/${free}`)).json
  assert.deepEqual([shown.hourly_cost_usd, shown.hourly_cost_max_usd, shown.replicas], [4.41, 8.82, 1])
  const fixed = await create('fixed', { replicas: 3, inactive_timeout_minutes: 30 })
  const { autoscaling_enabled, min_replicas, max_replicas, desired_replicas, inactive_timeout_minutes } =
    await scalingOf(fixed)
  assert.deepEqual(
    { autoscaling_enabled, min_replicas, max_replicas, desired_replicas, inactive_timeout_minutes },
    { autoscaling_enabled: false, min_replicas: 3, max_replicas: 3, desired_replicas: 3, inactive_timeout_minutes: 30 },
  )
  const policy = await create('policy', { replicas: 3, scaling: { min_replicas: 2, policy: 'target' } })
  const seen = await scalingOf(policy)
  assert.deepEqual([seen.min_replicas, seen.max_replicas, seen.desired_replicas, seen.policy], [2, 3, 3, 'target'])
  for (const id of [free, fixed, policy]) await world.call('DELETE', `/deployments/${id}`)
})

test('a deployment from before there were policies has as many as it asked for', async () => {
  const id = await create('old', { replicas: 2 })
  await world.db.run(`update deployments set scaling = '{}' where id = $1`, [id])
  const { autoscaling_enabled, min_replicas, max_replicas } = await scalingOf(id)
  assert.deepEqual([autoscaling_enabled, min_replicas, max_replicas], [false, 2, 2])
  await world.db.run(`update deployments set scaling = '{"maxReplicas": 5}' where id = $1`, [id])
  assert.equal((await scalingOf(id)).max_replicas, 5, 'what is not stored is the default')
  assert.equal((await scalingOf(id)).cooldown_seconds, 300)
})

test('autoscaling off and on: exactly the floor, then room to scale again', async () => {
  const id = await create('switch', { replicas: 1 })
  const on = await patch(id, { autoscaling_enabled: true })
  assert.deepEqual([on.json.autoscaling_enabled, on.json.min_replicas, on.json.max_replicas], [true, 1, 2])
  await patch(id, { max_replicas: 5 })
  const off = await patch(id, { autoscaling_enabled: false })
  assert.deepEqual([off.json.min_replicas, off.json.max_replicas, off.json.desired_replicas], [1, 1, 1])
  const own = await patch(id, { autoscaling_enabled: true, max_replicas: 1 })
  assert.equal(own.json.max_replicas, 1, 'what is named counts')
  const asleep = await create('sleeps-only', { replicas: 1 })
  assert.equal((await patch(asleep, { scale_to_zero: true })).json.max_replicas, 1, 'it was only to sleep')
})

test('the sample of the guide: a range on what had a fixed number turns autoscaling on', async () => {
  const id = await create('sample', { replicas: 1 })
  const body = { min_replicas: 1, max_replicas: 4, scale_to_zero: true, idle_timeout_seconds: 300 }
  const answer = await patch(id, body)
  assert.equal(answer.status, 200, answer.text)
  assert.equal(answer.json.autoscaling_enabled, true)
  for (const [name, value] of Object.entries(body)) assert.equal(answer.json[name], value, name)
  assert.deepEqual(await scalingOf(id), answer.json)
  assert.deepEqual(await decisionsOf(id), [], 'what is wanted did not change')
  assert.deepEqual((await eventsOf(id))[0]!.data.changed, ['autoscalingEnabled', 'maxReplicas', 'scaleToZero'])
  const before = await eventsOf(id)
  assert.equal((await patch(id, body)).status, 200)
  assert.equal((await patch(id, {})).status, 200)
  assert.deepEqual(await eventsOf(id), before, 'nothing changed: nothing happened')
  assert.equal((await world.call('GET', `/deployments/${id}`)).json.revision, 1)
})

test('limits move what is wanted into them, with a decision and an event each', async () => {
  const id = await create('limits')
  assert.equal((await patch(id, { min_replicas: 3 })).json.desired_replicas, 3)
  const down = await patch(id, { min_replicas: 1, max_replicas: 2 })
  assert.deepEqual([down.json.desired_replicas, down.json.max_replicas], [2, 2])
  const off = await patch(id, { autoscaling_enabled: false })
  assert.deepEqual([off.json.max_replicas, off.json.desired_replicas], [1, 1])
  const decisions = await decisionsOf(id)
  assert.deepEqual(
    decisions.map((one: Record<string, unknown>) => [one.from_replicas, one.to_replicas, one.cause]),
    [
      [2, 1, 'limits'],
      [3, 2, 'limits'],
      [1, 3, 'limits'],
    ],
  )
  const scaled = await eventsOf(id, '?type=deployment.scaled')
  assert.deepEqual(
    scaled.map(({ data }) => [data.from, data.to]),
    [
      [2, 1],
      [3, 2],
      [1, 3],
    ],
  )
  const page = await world.call('GET', `/deployments/${id}/scaling/decisions?limit=2`)
  const next = await world.call(
    'GET',
    `/deployments/${id}/scaling/decisions?limit=2&cursor=${page.json.next_cursor as string}`,
  )
  assert.deepEqual([...page.json.data, ...next.json.data], decisions)
  assert.equal(next.json.next_cursor, null)
})

test('sleep and wake: idempotent, at once, one decision each; one that is stopped does neither', async () => {
  const id = await create('sleeper', { gpu_type: 'h100', scaling: { min_replicas: 2, max_replicas: 4 } })
  const asleep = await world.call('POST', `/deployments/${id}/sleep`)
  assert.equal(asleep.status, 200, asleep.text)
  assert.deepEqual([asleep.json.phase, asleep.json.status, asleep.json.desired_replicas], ['asleep', 'active', 0])
  assert.deepEqual([asleep.json.reason.code, asleep.json.hourly_cost_usd], ['asleep', 0])
  assert.equal((await world.call('POST', `/deployments/${id}/sleep`, { body: {} })).status, 200)
  assert.equal((await decisionsOf(id)).length, 1)
  assert.equal((await patch(id, { max_replicas: 5 })).json.desired_replicas, 0, 'another limit does not wake it')
  const woken = await world.call('POST', `/deployments/${id}/wake`)
  assert.deepEqual([woken.json.phase, woken.json.desired_replicas, woken.json.reason.code], ['waking', 2, 'waking'])
  assert.equal((await world.call('POST', `/deployments/${id}/wake`)).json.desired_replicas, 2)
  assert.deepEqual(
    (await decisionsOf(id)).map((one: { cause: string }) => one.cause),
    ['wake', 'sleep'],
  )
  const phases = (await eventsOf(id, '?type=deployment.phase')).map(({ data }) => [data.from, data.to])
  assert.deepEqual(phases, [
    ['asleep', 'waking'],
    ['starting', 'asleep'],
  ])
  await world.call('POST', `/deployments/${id}/stop`)
  for (const verb of ['wake', 'sleep']) {
    const refused = await world.call('POST', `/deployments/${id}/${verb}`)
    assert.equal(refused.status, 409, refused.text)
    assert.match(refused.json.error.message, /It is stopped/)
  }
  await world.call('DELETE', `/deployments/${id}`)
})

test('one that may no longer sleep wakes', async () => {
  const id = await create('insomnia', { scaling: { min_replicas: 0 } })
  assert.equal((await scalingOf(id)).desired_replicas, 1, 'it is made awake')
  await world.call('POST', `/deployments/${id}/sleep`)
  const awake = await patch(id, { min_replicas: 2 })
  assert.deepEqual([awake.json.desired_replicas, awake.json.max_replicas], [2, 2])
  assert.equal((await world.call('GET', `/deployments/${id}`)).json.phase, 'waking')
})

test('the quota counts floors, asleep too, and refuses growth by limits, by changes and by starting again', async () => {
  const h100 = { gpu_type: 'h100' }
  const big = await create('big', { ...h100, replicas: 6 })
  const small = await create('small', { ...h100, scaling: { min_replicas: 1, max_replicas: 9, scale_to_zero: true } })
  await world.call('POST', `/deployments/${small}/sleep`)
  const grown = await patch(small, { min_replicas: 3 })
  assert.equal(grown.status, 409, grown.text)
  assert.deepEqual(grown.json.error.detail, { used: 6, asked: 3, limit: 8 })
  assert.equal((await scalingOf(small)).min_replicas, 1, 'nothing was changed')
  assert.equal((await patch(small, { min_replicas: 2 })).status, 200)
  assert.equal((await world.call('POST', '/deployments', { body: { ...wish('more'), ...h100 } })).status, 409)
  const wider = await world.call('PATCH', `/deployments/${small}`, { body: { gpu_count: 2 } })
  assert.equal(wider.status, 409, wider.text)
  await world.call('POST', `/deployments/${big}/stop`)
  assert.equal((await world.call('PATCH', `/deployments/${small}`, { body: { gpu_count: 2 } })).status, 200)
  const again = await world.call('POST', `/deployments/${big}/start`)
  assert.deepEqual([again.status, again.json.error?.code], [409, 'quota_exceeded'])
  await world.call('DELETE', `/deployments/${small}`)
  assert.equal((await world.call('POST', `/deployments/${big}/start`)).json.desired_replicas, 6)
  await world.call('DELETE', `/deployments/${big}`)
})

const wrong: [what: string, body: unknown, says: RegExp][] = [
  ['an unknown field', { min_replica: 1 }, /^Unknown field "min_replica"\.$/],
  ['our own word', { minReplicas: 1 }, /Unknown field "minReplicas"/],
  ['a text', { min_replicas: '1' }, /min_replicas: must be a number; seen: "1"/],
  ['a fraction', { max_replicas: 1.5 }, /max_replicas: must be a whole number/],
  ['less than nothing', { min_replicas: -1 }, /min_replicas: must be at least 0; seen: -1/],
  ['no replica at most', { max_replicas: 0 }, /max_replicas: must be at least 1/],
  ['more than the server allows', { max_replicas: 11 }, /max_replicas must be 1 to 10/],
  ['a floor above the ceiling', { min_replicas: 3, max_replicas: 2 }, /min_replicas \(3\) is above max_replicas \(2\)/],
  ['a cooldown at the minimum', { cooldown_seconds: 120 }, /cooldown_seconds must be more than 120/],
  ['an idle timeout below the minimum', { idle_timeout_seconds: 59 }, /idle_timeout_seconds must be at least 60/],
  ['a policy that nobody knows', { policy: 'magic' }, /policy: must be one of steps, target, slo; seen: "magic"/],
  ['no concurrency', { target_concurrency: 0 }, /target_concurrency: must be at least 1; seen: 0/],
  ['null', { scale_to_zero: null }, /scale_to_zero: must be true or false; seen: null/],
  ['minus one minute', { inactive_timeout_minutes: -1 }, /inactive_timeout_minutes: must be at least 0/],
  ['less than no cold start', { cold_start_target_seconds: -1 }, /cold_start_target_seconds: must be at least 0/],
  [
    'zero without autoscaling',
    { autoscaling_enabled: false, min_replicas: 0 },
    /min_replicas 0 needs autoscaling_enabled/,
  ],
  ['two mistakes', { cooldown_seconds: 1, idle_timeout_seconds: 1 }, /cooldown_seconds.*idle_timeout_seconds/],
  ['a list', [], /The body must be an object/],
]
for (const [what, body, says] of wrong)
  test(`scaling with ${what}: 400, on a change and on a create, and nothing changes`, async () => {
    const id = (await world.call('GET', '/deployments/limits')).json.id
    const before = await scalingOf(id)
    const answer = await patch(id, body)
    assert.equal(answer.status, 400, answer.text)
    assert.match(answer.json.error.message, says)
    assert.deepEqual(await scalingOf(id), before)
    const create = await world.call('POST', '/deployments', { body: { ...wish('wrong'), scaling: body } })
    assert.equal(create.status, 400, create.text)
  })

test('replicas outside the range that is sent along: 400', async () => {
  const body = { ...wish('outside'), replicas: 5, scaling: { max_replicas: 2 } }
  const answer = await world.call('POST', '/deployments', { body })
  assert.equal(answer.status, 400)
  assert.match(answer.json.error.message, /replicas \(5\) must be 1 to 2/)
})
