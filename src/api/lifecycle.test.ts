/** Changing a deployment over the API: settings, revisions, stop and start, repeated requests, filters of events. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type ApiError, NativeClient } from '../wire/native/client.ts'
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
const patch = (id: string, body: unknown) => world.call('PATCH', `/deployments/${id}`, { body })
const post = (path: string, key?: string, body?: unknown) =>
  world.call('POST', `/deployments/${path}`, {
    ...(body === undefined ? {} : { body }),
    headers: key === undefined ? {} : { 'idempotency-key': key },
  })
const typesOf = async (id: string, query = '') =>
  (await world.call('GET', `/deployments/${id}/events${query}`)).json.data.map((one: { type: string }) => one.type)

test('a part of the settings: a new revision; the same again: none; null: the default again', async () => {
  const id = await create('parts', { engine: { max_model_len: 2048 } })
  const changed = await patch(id, { engine: { max_num_seqs: 8 } })
  assert.equal(changed.status, 200, changed.text)
  assert.equal(changed.json.revision, 2)
  const { max_num_seqs, max_model_len } = changed.json.engine
  assert.deepEqual([max_num_seqs, max_model_len], [8, 2048], 'the rest stays')
  for (const same of [{ engine: { max_num_seqs: 8 } }, {}, { model_id: 'paddock/starter', gpu_count: 1 }])
    assert.equal((await patch(id, same)).json.revision, 2)
  const back = await patch(id, { engine: { max_model_len: null }, gpu_type: 'h100', gpu_count: 2, region: 'nyc2' })
  assert.deepEqual([back.json.revision, back.json.engine.max_model_len, back.json.region], [3, null, 'nyc2'])
  assert.equal((await patch(id, { region: null })).json.region, null)
  const { data } = (await world.call('GET', `/deployments/${id}/revisions`)).json
  assert.deepEqual(
    data.map((one: Record<string, unknown>) => [one.revision, one.current, one.failed, one.gpu_type]),
    [
      [4, true, false, 'h100'],
      [3, false, false, 'h100'],
      [2, false, false, 'cpu'],
      [1, false, false, 'cpu'],
    ],
  )
  const [latest] = (await world.call('GET', `/deployments/${id}/events?type=deployment.changed`)).json.data
  assert.deepEqual([latest.data.revision, latest.data.changed], [4, ['hardware']])
})

test('settings and scaling at once: all of it or nothing', async () => {
  const id = await create('at-once')
  const both = await patch(id, { engine: { max_num_seqs: 2 }, scaling: { min_replicas: 2 } })
  assert.deepEqual([both.json.revision, both.json.desired_replicas, both.json.replicas], [2, 2, 2])
  const fixed = await patch(id, { replicas: 4 })
  assert.deepEqual([fixed.json.revision, fixed.json.desired_replicas], [2, 4], 'a number is no revision')
  assert.equal((await world.call('GET', `/deployments/${id}/scaling`)).json.autoscaling_enabled, false)
  const half = await patch(id, { scaling: { min_replicas: 1 }, gpu_type: 'tpu' })
  assert.equal(half.status, 422)
  assert.equal((await world.call('GET', `/deployments/${id}/scaling`)).json.min_replicas, 4)
})

const wrong: [body: unknown, status: number, says: RegExp][] = [
  [{ name: 'other' }, 400, /Unknown field "name"/],
  [{ desired_replicas: 3 }, 400, /Unknown field "desired_replicas"/],
  [{ engine: { seqs: 3 } }, 400, /Unknown field "engine\.seqs"/],
  [{ engine: { max_num_seqs: 0 } }, 400, /engine\.max_num_seqs: must be at least 1/],
  [{ engine: { max_num_seqs: '8' } }, 400, /engine\.max_num_seqs: must be a number; seen: "8"/],
  [{ engine: { type: 'tgi' } }, 400, /engine\.type: must be one of/],
  [{ engine: { additional_args: [7] } }, 400, /engine\.additional_args\[0\]: must be a text/],
  [{ engine: 'vllm' }, 400, /engine: must be an object/],
  [{ replicas: 0 }, 400, /replicas: must be at least 1/],
  [{ replicas: 11 }, 400, /min_replicas must be 0 to 10/],
  [{ gpu_count: 'two' }, 400, /gpu_count: must be a number/],
  [{ region: '' }, 400, /region: must have at least 1/],
  [{ model_id: null }, 400, /model_id: must be a text/],
  [{ replicas: 2, scaling: { max_replicas: 4 } }, 400, /replicas is exactly that many/],
  [{ scaling: { foo: 1 } }, 400, /Unknown field "scaling\.foo"/],
  [{ scaling: { cooldown_seconds: 3 } }, 400, /cooldown_seconds must be more than 120/],
  [{ gpu_type: 'tpu' }, 422, /no hardware type "tpu"/],
  [{ gpu_type: 'h200' }, 422, /no price/],
  [{ gpu_type: 'h100', gpu_count: 3 }, 422, /1, 2, 4 at a time/],
  [{ region: 'mars' }, 422, /region "mars"/],
  [{ model_id: 'gpt-9' }, 422, /gpt-9/],
  ['{"engine": }', 400, /position 11/],
]
for (const [body, status, says] of wrong)
  test(`PATCH ${JSON.stringify(body)}: ${status}, and nothing changes`, async () => {
    const before = (await world.call('GET', '/deployments/at-once')).json
    const answer = await patch('at-once', body)
    assert.equal(answer.status, status, answer.text)
    assert.match(answer.json.error.message, says)
    assert.deepEqual((await world.call('GET', '/deployments/at-once')).json, before)
  })

test('stop and start, each twice; the settings stay; a stopped one can be changed', async () => {
  const id = await create('pause', { gpu_type: 'h100', replicas: 2 })
  const stopped = await post(`${id}/stop`)
  assert.deepEqual([stopped.status, stopped.json.phase, stopped.json.status], [200, 'stopping', 'teardown'])
  assert.deepEqual([stopped.json.desired_replicas, stopped.json.hourly_cost_usd], [0, 0])
  await post('pause/stop', undefined, {})
  await patch(id, { replicas: 3 })
  const started = await post(`${id}/start`)
  assert.deepEqual([started.json.phase, started.json.desired_replicas], ['starting', 3])
  await post(`${id}/start`)
  const asked = (await typesOf(id)).filter((type: string) => type.endsWith('_asked'))
  assert.deepEqual(asked, ['deployment.start_asked', 'deployment.stop_asked'])
  assert.equal((await post(`${id}/restart`)).json.revision, 2)
  await world.call('DELETE', `/deployments/${id}`)
  for (const verb of ['stop', 'start', 'restart', 'wake', 'sleep', 'rollback'])
    assert.equal((await post(`${id}/${verb}`)).status, 404, `${verb} after it was deleted`)
})

test('put to sleep, stopped, started: awake, with its floor', async () => {
  const id = await create('nap', { scaling: { min_replicas: 2, max_replicas: 3 } })
  await post(`${id}/sleep`)
  await post(`${id}/stop`)
  assert.equal((await post(`${id}/start`)).json.desired_replicas, 2)
})

test('rollback: to the one before, to a number, to one that is not there', async () => {
  const id = await create('back', { engine: { max_num_seqs: 1 } })
  const early = await post(`${id}/rollback`)
  assert.deepEqual([early.status, early.json.error.code], [409, 'conflict'])
  for (const max_num_seqs of [2, 3]) await patch(id, { engine: { max_num_seqs } })
  const one = await post(`${id}/rollback`)
  assert.deepEqual([one.json.revision, one.json.engine.max_num_seqs], [4, 2])
  const first = await post(`${id}/rollback`, undefined, { revision: 1 })
  assert.deepEqual([first.json.revision, first.json.engine.max_num_seqs], [5, 1])
  assert.equal((await post(`${id}/rollback`, undefined, { revision: 5 })).json.revision, 5, 'it is there already')
  assert.equal((await post(`${id}/rollback`, undefined, { revision: 99 })).status, 400)
  assert.equal((await post(`${id}/rollback`, undefined, { revision: 0 })).status, 400)
  assert.equal((await post(`${id}/rollback`, undefined, { to: 1 })).json.error.code, 'unknown_field')
})

test('Idempotency-Key: a repeated stop does not undo the start between; another deployment is another request', async () => {
  const [id, other] = [await create('keyed'), await create('keyed-too')]
  assert.equal((await post(`${id}/stop`, 'k')).json.phase, 'stopping')
  await post(`${id}/start`)
  assert.notEqual((await post(`${id}/stop`, 'k')).json.phase, 'stopping', 'it was a repetition')
  assert.equal((await post(`${other}/stop`, 'k')).json.phase, 'stopping')
  const all = await Promise.all(Array.from({ length: 6 }, () => post(`${id}/restart`, 'race')))
  assert.deepEqual(new Set(all.map((one) => one.status)), new Set([200]))
  assert.equal((await world.call('GET', `/deployments/${id}`)).json.revision, 2, 'restarted once')
  const conflict = await post(`${id}/rollback`, 'r', { revision: 1 })
  assert.equal(conflict.status, 200)
  assert.equal((await post(`${id}/rollback`, 'r', { revision: 2 })).json.error.code, 'idempotency_conflict')
  assert.equal((await post(`${id}/stop`, 'a b')).status, 400)
})

test('a change with a key happens once: its repeat undoes nothing that came after', async () => {
  const id = await create('change-once')
  const send = (path: string, key: string, body: unknown) =>
    world.call('PATCH', `/deployments/${id}${path}`, { body, headers: { 'idempotency-key': key } })
  const floors: number[] = []
  for (const [key, min_replicas] of [
    ['a', 2],
    ['b', 1],
    ['a', 2],
  ] as const)
    floors.push((await send('/scaling', key, { min_replicas })).json.min_replicas)
  assert.deepEqual(floors, [2, 1, 1])
  const spec = { engine: { max_num_seqs: 5 } }
  const twice = await Promise.all([send('', 'c', spec), send('', 'c', spec)])
  assert.deepEqual(new Set(twice.map((answer) => answer.status)), new Set([200]))
  await patch(id, { engine: { max_num_seqs: 6 } })
  assert.deepEqual([(await send('', 'c', spec)).json.revision, (await send('', 'd', {})).json.revision], [3, 3])
  for (const path of ['', '/scaling']) {
    const other = await send(path, path === '' ? 'c' : 'a', {})
    assert.deepEqual([other.status, other.json.error.code], [409, 'idempotency_conflict'])
  }
})

test('many changes at once: every one is a revision, none is lost', async () => {
  const id = await create('crowd')
  const answers = await Promise.all([2, 3, 4, 5, 6, 7].map((max_num_seqs) => patch(id, { engine: { max_num_seqs } })))
  assert.deepEqual(new Set(answers.map((one) => one.status)), new Set([200]))
  const { data } = (await world.call('GET', `/deployments/${id}/revisions`)).json
  assert.equal(data.length, 7)
  assert.equal((await world.call('GET', `/deployments/${id}`)).json.revision, 7)
})

test('events by type and time', async () => {
  const id = await create('log')
  await post(`${id}/stop`)
  const all = (await world.call('GET', `/deployments/${id}/events`)).json.data as { type: string; at: string }[]
  assert.deepEqual(await typesOf(id, '?type=deployment.stop_asked'), ['deployment.stop_asked'])
  assert.deepEqual(await typesOf(id, '?type=deployment.nothing'), [])
  const stop = encodeURIComponent(all[0]!.at)
  assert.ok((await typesOf(id, `?since=${stop}`)).includes('deployment.stop_asked'))
  assert.ok(!(await typesOf(id, `?until=${stop}`)).includes('deployment.stop_asked'))
  assert.deepEqual(await typesOf(id, '?since=2099-01-01T00:00:00%2B02:00'), [])
  const page = await world.call('GET', `/deployments/${id}/events?type=deployment.created&limit=1`)
  assert.equal(page.json.next_cursor, null)
  for (const query of ['since=yesterday', 'until=2026-01-01', 'type=', 'types=x'])
    assert.equal((await world.call('GET', `/deployments/${id}/events?${query}`)).status, 400, query)
})

test('a roll in place that may take longer than requests are held: refused with the numbers, unless it is allowed', async () => {
  const id = await create('tight')
  // It answers, on the only place there is, after a start of 400 s.
  await world.db.run(`update deployments set phase = 'serving', reason = null, ready_replicas = 1 where id = $1`, [id])
  await world.db.run(
    `insert into replicas (id, deployment_id, revision_id, org_id, phase, provider, gpu_type, gpu_count, region,
       price_micro_usd_per_unit_hour, created_at, ready_at)
     select 'rep_tight', d.id, r.id, d.org_id, 'ready', 'local', 'cpu', 1, 'here', 0, d.created_at, d.created_at + interval '400 s'
     from deployments d join revisions r on r.deployment_id = d.id where d.id = $1`,
    [id],
  )
  const refused = await patch(id, { engine: { max_num_seqs: 2 } })
  assert.equal(refused.status, 409, refused.text)
  const { code, detail, action } = refused.json.error
  assert.deepEqual([code, detail], ['downtime_not_allowed', { expected_start_seconds: 400, hold_max_seconds: 300 }])
  assert.match(action, /allow_downtime: true/)
  assert.equal((await post(`${id}/restart`)).json.error.code, 'downtime_not_allowed')
  assert.equal((await patch(id, { engine: { max_num_seqs: 2 }, allow_downtime: 'yes' })).status, 400)
  assert.equal((await post(`${id}/restart`, undefined, { allow_downtime: 1 })).status, 400)

  const allowed = await patch(id, { engine: { max_num_seqs: 2 }, allow_downtime: true })
  assert.deepEqual([allowed.status, allowed.json.phase, allowed.json.revision], [200, 'rolling', 2])
  assert.match(allowed.json.reason.message, /goes in place, requests are held; its start is expected to take 400 s/)
  assert.equal((await post(`${id}/rollback`)).json.revision, 3, 'the old replica is still there: nothing has to start')
  assert.equal((await post(`${id}/rollback`, undefined, { revision: 2 })).json.error.code, 'downtime_not_allowed')
  const { data } = (await world.call('GET', `/deployments/${id}/revisions`)).json
  assert.deepEqual(
    data.map((one: { revision: number; weight: number }) => [one.revision, one.weight]),
    [
      [3, 100],
      [2, 100],
      [1, 100],
    ],
  )
})

test('the client: the same, typed', async () => {
  const send = (async (url: string, init: RequestInit) => world.app.request(url, init)) as typeof fetch
  const client = new NativeClient({ url: 'http://paddock.test', key: world.keys.ownerA, fetch: send })
  await client.createDeployment({ ...wish('typed'), scaling: { max_replicas: 3 } })
  assert.equal((await client.changeDeployment('typed', { engine: { max_num_seqs: 2 } })).revision, 2)
  assert.equal((await client.changeScaling('typed', { min_replicas: 2 })).desired_replicas, 2)
  assert.equal((await client.getScaling('typed')).max_replicas, 3)
  assert.equal((await client.sleepDeployment('typed')).phase, 'asleep')
  assert.equal((await client.wakeDeployment('typed', {}, { idempotencyKey: 'w' })).phase, 'waking')
  assert.equal((await client.listDecisions('typed', { limit: 1 })).data[0]!.cause, 'wake')
  assert.equal((await client.rollbackDeployment('typed')).revision, 3)
  assert.equal((await client.listRevisions('typed')).data.length, 3)
  assert.equal((await client.restartDeployment('typed')).revision, 4)
  assert.equal((await client.stopDeployment('typed')).phase, 'stopping')
  assert.equal((await client.startDeployment('typed')).phase, 'starting')
  assert.equal((await client.listEvents('typed', { type: 'deployment.scaled' })).data.length, 3)
  await assert.rejects(client.wakeDeployment('nope'), (error: ApiError) => error.code === 'not_found')
})
