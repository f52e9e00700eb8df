/** Presets over the API, on the emulated fleet with the real reconciler: what each sets, keeps and refuses. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { TestFleet } from '../compute/local/testing/fleet.ts'
import { DeploymentLoop } from '../deployments/loop.ts'
import { quickSettings, standInEngine } from '../deployments/testing/stand-in.ts'
import { loadHardware } from '../models/hardware.ts'
import { systemClock, until } from '../runtime/clock.ts'
import { silentLog } from '../runtime/log.ts'
import { makeWorld, type World, wish } from './testing.ts'

const fleet = new TestFleet({ fleet: 'emulated', gpuTypes: loadHardware({}).all() })
const stop = new AbortController()
let loop: DeploymentLoop
let running: Promise<void>
let world: World
/** The same with nothing but the CPU. */
let bare: World

before(async () => {
  const engines = new Map([['llamacpp' as const, standInEngine()]])
  world = await makeWorld({}, { computes: new Map([['local', fleet.local]]), engines, wake: () => loop?.wake() })
  const parts = { ...world.context, settings: quickSettings, stopGraceSeconds: 1, log: silentLog }
  loop = new DeploymentLoop(parts, 'preset test')
  running = loop.run(stop.signal)
  bare = await makeWorld()
})
after(async () => {
  stop.abort()
  await running
  await fleet.dispose()
  await world.close()
  await bare.close()
})

async function create(name: string, more: object = {}, where = world): Promise<string> {
  const made = await where.call('POST', '/deployments', { body: { ...wish(name), ...more } })
  assert.equal(made.status, 201, made.text)
  return made.json.id
}
const get = async (id: string, where = world) => (await where.call('GET', `/deployments/${id}`)).json
const scalingOf = async (id: string, where = world) => (await where.call('GET', `/deployments/${id}/scaling`)).json
const apply = (id: string, body: unknown, where = world, headers = {}) =>
  where.call('PATCH', `/deployments/${id}/preset`, { body, headers })
const eventsOf = async (id: string, type: string, where = world) =>
  (await where.call('GET', `/deployments/${id}/events?type=${type}`)).json.data.map((one: { data: object }) => one.data)
const serves = (id: string) =>
  until(systemClock, `${id} serves`, 30_000, async () => {
    const seen = await get(id)
    return seen.phase === 'serving' ? seen : null
  })

test('the list: what each sets, and whether its hardware is here', async () => {
  const rows = (await world.call('GET', '/presets')).json.data
  const short = (row: { preset: string; gpu_type: string; available: boolean; scaling: Record<string, unknown> }) => [
    row.preset,
    row.gpu_type,
    row.scaling.policy,
    row.scaling.scale_to_zero,
    row.available,
  ]
  assert.deepEqual(rows.map(short), [
    ['speed', 'h100', 'target', false, true],
    ['latency', 'h100', 'target', false, true],
    ['cost', 'mi300x', 'steps', true, true],
    ['balanced', 'mi300x', 'steps', false, true],
  ])
  const [speed] = (await bare.call('GET', '/presets')).json.data
  assert.deepEqual([speed.available, speed.reason], [false, 'There is no h100 on this server.'])
  const scoped = (await bare.call('GET', '/presets', { key: bare.keys.scopedA })).json.data
  assert.equal(scoped[0].reason, null, 'who may not look at the hardware is not told that there is none')
})

test('the list: what each sets of the engines of this server, and what those leave out', async () => {
  const of = new Map(
    (await bare.call('GET', '/presets')).json.data.map((row: { preset: string; engines: object[] }) => [
      row.preset,
      row.engines,
    ]),
  )
  const engine = 'llamacpp'
  assert.deepEqual(of.get('speed'), [{ engine, arguments: [], sequences: 8, leaves_out: [] }])
  assert.deepEqual(of.get('balanced'), [{ engine, arguments: [], sequences: null, leaves_out: [] }])
  const guess = 'Guessing ahead is left out: the embedded engine does not do it.'
  assert.deepEqual(of.get('latency'), [{ engine, arguments: [], sequences: 2, leaves_out: [guess] }])
})

test('what a person names goes before the preset, of the engine too', async () => {
  const id = await create('sequences', { preset: 'speed', gpu_type: 'cpu', engine: { max_num_seqs: 3 } }, bare)
  const { max_num_seqs, preset_sequences } = (await get(id, bare)).engine
  assert.deepEqual([max_num_seqs, preset_sequences], [3, null])
})

test('the guide’s sample: hardware and policy at once, rolled to; the answer says what changed', async () => {
  const id = await create('sample', { replicas: 1 })
  await serves(id)
  const speed = await apply(id, { preset: 'speed' })
  assert.equal(speed.status, 200, speed.text)
  assert.deepEqual([speed.json.preset, speed.json.gpu_type, speed.json.revision], ['speed', 'h100', 2])
  assert.deepEqual(speed.json.changed, ['scaling.autoscaling_enabled', 'scaling.policy', 'hardware'])
  const rolled = await serves(id)
  assert.deepEqual([rolled.runs_on[0].gpu_type, rolled.hourly_cost_usd], ['h100', 4.41])
  const { policy, min_replicas, max_replicas, scale_to_zero } = await scalingOf(id)
  assert.deepEqual([policy, min_replicas, max_replicas, scale_to_zero], ['target', 1, 1, false], 'the range is theirs')
  const again = await apply(id, { preset: 'speed' })
  assert.deepEqual([again.json.changed, again.json.revision], [[], 2])
  const latency = await apply(id, { preset: 'latency' })
  assert.deepEqual([latency.json.changed, latency.json.revision], [['scaling.cooldown_seconds'], 2])
  const told = await eventsOf(id, 'deployment.preset_applied')
  assert.deepEqual(
    told.map((one: { preset: string }) => one.preset),
    ['latency', 'speed', 'speed'],
  )
  await world.call('DELETE', `/deployments/${id}`)
})

test('what is sent after a preset wins, until a preset is applied again', async () => {
  const id = await create('after', { gpu_type: 'mi300x', preset: 'cost' })
  assert.deepEqual((await scalingOf(id)).scale_to_zero, true)
  await world.call('PATCH', `/deployments/${id}/scaling`, { body: { scale_to_zero: false, max_replicas: 5 } })
  assert.deepEqual([(await get(id)).preset, (await scalingOf(id)).scale_to_zero], ['cost', false])
  const again = await apply(id, { preset: 'cost' })
  assert.deepEqual(again.json.changed, ['scaling.scale_to_zero'])
  assert.equal((await scalingOf(id)).max_replicas, 5, 'what a preset does not name stays')
  await world.call('PATCH', `/deployments/${id}/scaling`, { body: { min_replicas: 0 } })
  await apply(id, { preset: 'balanced' })
  const { min_replicas, scale_to_zero } = await scalingOf(id)
  assert.deepEqual([min_replicas, scale_to_zero], [1, false], 'always warm')
  await world.call('DELETE', `/deployments/${id}`)
})

test('created with a preset: its hardware and policy, but for what is named', async () => {
  const { gpu_type: _, ...bareWish } = wish('whole')
  const whole = await world.call('POST', '/deployments', { body: { ...bareWish, preset: 'cost' } })
  assert.equal(whole.status, 201, whole.text)
  assert.deepEqual([whole.json.gpu_type, whole.json.preset, whole.json.desired_replicas], ['mi300x', 'cost', 1])
  const own = await create('own', { preset: 'cost', scaling: { policy: 'target', idle_timeout_seconds: 600 } })
  const { policy, scale_to_zero, idle_timeout_seconds, cooldown_seconds } = await scalingOf(own)
  assert.deepEqual([policy, scale_to_zero, idle_timeout_seconds, cooldown_seconds], ['target', true, 600, 180])
  assert.equal((await get(own)).gpu_type, 'cpu')
  const neither = await world.call('POST', '/deployments', { body: bareWish })
  assert.deepEqual([neither.status, neither.json.error.message], [400, 'gpu_type: is required.'])
  for (const id of [whole.json.id, own]) await world.call('DELETE', `/deployments/${id}`)
})

test('count and region stay where the hardware has them; a list gives way to the preset’s', async () => {
  const id = await create('counts', { gpu_type: 'h100', gpu_count: 2, region: 'tor1', replicas: 1 })
  const cost = await apply(id, { preset: 'cost' })
  assert.deepEqual([cost.json.gpu_type, cost.json.gpu_count, cost.json.region], ['mi300x', 2, 'tor1'])
  await world.call('PATCH', `/deployments/${id}`, {
    body: { hardware: [{ gpu_type: 'mi300x_8' }, { gpu_type: 'cpu' }] },
  })
  const back = await apply(id, { preset: 'balanced' })
  assert.deepEqual([back.json.hardware.length, back.json.gpu_type, back.json.gpu_count], [1, 'mi300x', 1])
  await world.call('DELETE', `/deployments/${id}`)
})

test('hardware on which its model does not fit: 422, unless it is forced', async () => {
  const id = await create('large', { model_id: 'meta-llama/llama-3.3-70b-instruct', gpu_type: 'mi325x' })
  const refused = await apply(id, { preset: 'speed' })
  assert.deepEqual([refused.status, refused.json.error.code], [422, 'does_not_fit'], refused.text)
  assert.deepEqual([(await get(id)).preset, (await get(id)).gpu_type], [null, 'mi325x'])
  const forced = await apply(id, { preset: 'speed', force: true })
  assert.deepEqual([forced.status, forced.json.preset, forced.json.gpu_type], [200, 'speed', 'h100'], forced.text)
  await world.call('DELETE', `/deployments/${id}`)
})

test('hardware that is not here: 409, nothing changes; keep_hardware sets the rest', async () => {
  const id = await create('laptop', {}, bare)
  const refused = await apply(id, { preset: 'speed' }, bare)
  assert.deepEqual([refused.status, refused.json.error.code], [409, 'hardware_absent'], refused.text)
  assert.match(refused.json.error.message, /speed runs on h100\. There is no h100 on this server/)
  assert.match(refused.json.error.action, /keep_hardware: true/)
  assert.deepEqual([(await get(id, bare)).preset, (await scalingOf(id, bare)).policy], [null, 'steps'])
  const kept = await apply(id, { preset: 'speed', keep_hardware: true }, bare)
  assert.deepEqual([kept.status, kept.json.gpu_type, kept.json.changed], [200, 'cpu', ['scaling.policy', 'engine']])
  const { preset_sequences, preset_sets, preset_leaves_out } = (await get(id, bare)).engine
  assert.deepEqual([preset_sequences, preset_sets, preset_leaves_out], [8, [], []])
  const cost = await apply(id, { preset: 'cost', keep_hardware: true }, bare)
  assert.match(cost.json.engine.preset_leaves_out[0], /^Bringing the weights to 8 bits is left out: llama\.cpp takes/)
  assert.equal(cost.json.engine.preset_sequences, null)
  const none = await apply(id, { preset: 'balanced', keep_hardware: true }, bare)
  assert.ok(none.json.changed.includes('engine'), none.text)
  assert.deepEqual(none.json.engine.preset_leaves_out, [])
  const { gpu_type: _, ...bareWish } = wish('none')
  const created = await bare.call('POST', '/deployments', { body: { ...bareWish, preset: 'cost' } })
  assert.deepEqual([created.status, created.json.error.code], [409, 'hardware_absent'])
  assert.match(created.json.error.action, /Name gpu_type/, 'nothing is there that could be kept')
})

test('the quota is asked, and all of it or nothing is set', async () => {
  const id = await create('many', { replicas: 9 })
  const refused = await apply(id, { preset: 'speed' })
  assert.deepEqual([refused.status, refused.json.error.code], [409, 'quota_exceeded'], refused.text)
  assert.deepEqual([(await get(id)).preset, (await scalingOf(id)).autoscaling_enabled], [null, false])
  await world.call('DELETE', `/deployments/${id}`)
})

test('with a key it is applied once, and the repeat says the same', async () => {
  const id = await create('keyed', {}, bare)
  const headers = { 'idempotency-key': 'p' }
  const body = { preset: 'latency', keep_hardware: true }
  const first = await apply(id, body, bare, headers)
  await apply(id, { preset: 'balanced', keep_hardware: true }, bare)
  const repeat = await apply(id, body, bare, headers)
  assert.deepEqual(repeat.json.changed, first.json.changed)
  assert.deepEqual(
    [repeat.json.preset, (await eventsOf(id, 'deployment.preset_applied', bare)).length],
    ['balanced', 2],
  )
})

const wrong: [body: unknown, says: RegExp][] = [
  [{}, /preset: is required/],
  [{ preset: 'fast' }, /preset: must be one of speed, latency, cost, balanced; seen: "fast"/],
  [{ preset: null }, /preset: /],
  [{ preset: 'cost', gpu_type: 'h100' }, /Unknown field "gpu_type"/],
  [{ preset: 'cost', keep_hardware: 'yes' }, /keep_hardware: must be true or false/],
]
for (const [body, says] of wrong)
  test(`PATCH preset ${JSON.stringify(body)}: 400`, async () => {
    const answer = await apply('laptop', body, bare)
    assert.equal(answer.status, 400, answer.text)
    assert.match(answer.json.error.message, says)
  })
