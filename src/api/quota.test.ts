/** Quotas over the API: set by the operator, seen by who belongs, counted, and what they refuse. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { NativeClient } from '../wire/native/client.ts'
import { makeWorld, type World, wish } from './testing.ts'

let world: World
before(async () => {
  world = await makeWorld()
})
after(() => world.close())

const set = (body: unknown, org = world.orgA, key = world.keys.operator, headers = {}) =>
  world.call('PATCH', `/orgs/${org}/quota`, { key, body, headers })
const quotaOf = async (org: string, key = world.keys.operator) =>
  (await world.call('GET', '/orgs', { key })).json.data.find((one: { id: string }) => one.id === org)?.quota
const create = (name: string, more: object, key = world.keys.ownerA) =>
  world.call('POST', '/deployments', { key, body: { ...wish(name), gpu_type: 'h100', ...more } })

test('eight by default; the operator sets another number, and sets it back; each change is an event', async () => {
  assert.deepEqual(await quotaOf(world.orgA), { gpus: 8, gpus_used: 0, is_default: true })
  assert.deepEqual(await quotaOf(world.orgA, world.keys.ownerA), { gpus: 8, gpus_used: 0, is_default: true })
  const made = await world.call('POST', '/orgs', { key: world.keys.operator, body: { name: 'New' } })
  assert.deepEqual(made.json.quota, { gpus: 8, gpus_used: 0, is_default: true })
  const raised = await set({ gpus: 16 })
  assert.equal(raised.status, 200, raised.text)
  assert.deepEqual(raised.json, {
    org_id: world.orgA,
    gpus: 16,
    gpus_used: 0,
    is_default: false,
    growth_stopped: false,
    message: 'It holds 0 of 16 GPUs.',
  })
  assert.deepEqual(await quotaOf(world.orgB), { gpus: 8, gpus_used: 0, is_default: true }, 'nobody else’s')
  assert.equal((await set({ gpus: 16 })).status, 200)
  assert.deepEqual((await set({ gpus: null })).json.is_default, true)
  const events = await world.db.query<{ data: object }>(
    `select data from events where type = 'org.quota_changed' and org_id = $1 order by seq`,
    [world.orgA],
  )
  assert.deepEqual(
    events.map(({ data }) => data),
    [
      { by: 'key_operator', from: 8, to: 16 },
      { by: 'key_operator', from: 16, to: 8 },
    ],
  )
})

test('used and limit where it refuses; floors count asleep, the larger of floor and wish awake, cpus nothing', async () => {
  assert.equal((await create('big', { replicas: 6 })).status, 201)
  assert.equal((await create('cpus', { gpu_type: 'cpu', replicas: 9 })).status, 201)
  const refused = await create('more', { replicas: 3 })
  assert.deepEqual([refused.status, refused.json.error.code], [409, 'quota_exceeded'])
  assert.deepEqual(refused.json.error.detail, { used: 6, asked: 3, limit: 8 })
  assert.equal((await create('more', { scaling: { min_replicas: 0, max_replicas: 9 } })).status, 201)
  assert.deepEqual(await quotaOf(world.orgA), { gpus: 8, gpus_used: 7, is_default: true })
  await world.call('POST', '/deployments/more/sleep')
  assert.equal((await quotaOf(world.orgA)).gpus_used, 6, 'a floor of 0 asleep holds nothing')
  await world.call('POST', '/deployments/big/sleep')
  assert.equal((await quotaOf(world.orgA)).gpus_used, 6, 'a floor counts asleep')
  await world.call('POST', '/deployments/big/wake')
  const eight = { hardware: [{ gpu_type: 'h100' }, { gpu_type: 'mi300x_8' }] }
  const list = await create('list', eight)
  assert.deepEqual([list.status, list.json.error?.detail], [409, { used: 6, asked: 8, limit: 8 }], 'its largest choice')
  const capped = await create('list', { ...eight, max_hourly_usd: 10 })
  assert.equal(capped.status, 201, 'a choice above the ceiling does not count')
})

test('lowered below what it holds: nothing is taken away, nothing grows, and the answer says so', async () => {
  const lowered = await set({ gpus: 4 })
  assert.deepEqual(
    [lowered.status, lowered.json.gpus_used, lowered.json.growth_stopped, lowered.json.message],
    [200, 7, true, 'It holds 7 of 4 GPUs: nothing is taken away, but nothing starts or grows until it holds less.'],
  )
  assert.equal((await world.call('GET', '/deployments/big')).json.desired_replicas, 6)
  const scaled = (body: object) => world.call('PATCH', '/deployments/big/scaling', { body })
  assert.equal((await scaled({ min_replicas: 7 })).json.error.code, 'quota_exceeded')
  assert.equal((await scaled({ min_replicas: 5 })).status, 200, 'less is never refused')
  assert.equal((await world.call('PATCH', '/deployments/big', { body: { engine: { max_num_seqs: 3 } } })).status, 200)
  const woken = await world.call('POST', '/deployments/more/wake')
  assert.deepEqual([woken.status, woken.json.error.code], [409, 'quota_exceeded'])
  await set({ gpus: 9 })
  assert.equal((await world.call('POST', '/deployments/more/wake')).status, 200)
})

test('started again after sleep and stop: counted anew, and the number that is wanted then is told', async () => {
  await set({ gpus: 9 })
  for (const verb of ['sleep', 'stop']) await world.call('POST', `/deployments/big/${verb}`)
  const held = await quotaOf(world.orgA)
  assert.equal((await create('taker', { replicas: 9 - held.gpus_used })).status, 201)
  const refused = await world.call('POST', '/deployments/big/start')
  assert.deepEqual([refused.status, refused.json.error.code], [409, 'quota_exceeded'])
  assert.equal((await world.call('GET', '/deployments/big')).json.desired_replicas, 0)
  await world.call('DELETE', '/deployments/taker')
  const before = (await world.call('GET', '/deployments/big/events?type=deployment.scaled')).json.data.length
  const started = await world.call('POST', '/deployments/big/start')
  assert.deepEqual([started.status, started.json.phase, started.json.desired_replicas], [200, 'starting', 5])
  const events = (await world.call('GET', '/deployments/big/events?type=deployment.scaled')).json.data
  assert.equal(events.length, before + 1)
  assert.deepEqual(events[0].data, { from: 0, to: 5, cause: 'start', why: 'It was started again.' })
  const [decision] = (await world.call('GET', '/deployments/big/scaling/decisions')).json.data
  assert.deepEqual([decision.from_replicas, decision.to_replicas, decision.cause], [0, 5, 'start'])
})

test('only the operator; another organisation is not there; the same key again is the same answer', async () => {
  const own = await set({ gpus: 100 }, world.orgA, world.keys.ownerA)
  assert.deepEqual([own.status, own.json.error.code], [403, 'forbidden'])
  const other = await set({ gpus: 100 }, world.orgA, world.keys.ownerB)
  assert.deepEqual([other.status, other.json.error.code], [404, 'not_found'])
  assert.equal((await set({ gpus: 1 }, 'org_nowhere')).status, 404)
  const once = { 'idempotency-key': 'raise' }
  assert.equal((await set({ gpus: 20 }, world.orgB, world.keys.operator, once)).json.gpus, 20)
  await set({ gpus: 30 }, world.orgB)
  assert.equal((await set({ gpus: 20 }, world.orgB, world.keys.operator, once)).json.gpus, 20)
  assert.equal((await quotaOf(world.orgB)).gpus, 30, 'a repeated request changes nothing')
  const app = world.app
  const client = new NativeClient({
    url: 'http://paddock.test',
    key: world.keys.operator,
    fetch: (async (url: string, init: RequestInit) => app.request(url, init)) as typeof fetch,
  })
  assert.equal((await client.changeQuota(world.orgB, { gpus: 8 })).gpus, 8)
})

const wrong: [body: unknown, says: RegExp][] = [
  [{}, /gpus: is required/],
  [{ gpus: -1 }, /gpus: must be at least 0/],
  [{ gpus: 1.5 }, /gpus: must be a whole number/],
  [{ gpus: 1_000_001 }, /gpus: must be at most 1000000/],
  [{ gpus: '8' }, /gpus: must be a number; seen: "8"/],
  [{ gpus: 8, org_id: 'x' }, /Unknown field "org_id"/],
  [[], /The body must be an object/],
]
for (const [body, says] of wrong)
  test(`quota ${JSON.stringify(body)}: 400`, async () => {
    const answer = await set(body)
    assert.equal(answer.status, 400, answer.text)
    assert.match(answer.json.error.message, says)
  })
