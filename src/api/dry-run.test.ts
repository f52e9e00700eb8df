/** Dry runs, and what the fit check refuses: the emulated fleet checks as a real one would. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Offer } from '../compute/contract.ts'
import { NativeClient } from '../wire/native/client.ts'
import { makeWorld, type World, wish } from './testing.ts'

let world: World
before(async () => {
  world = await makeWorld()
})
after(() => world.close())

const w4 = 'llama-3.3-70b-instruct'
const bf16 = 'meta-llama/llama-3.3-70b-instruct'
const on = (model_id: string, gpu_type: string, gpu_count = 1, more = {}) => ({
  name: 'tried',
  model_id,
  gpu_type,
  gpu_count,
  ...more,
})
const dry = (body: object, key?: string) => world.call('POST', '/deployments?dry_run=true', { body, key })
const create = (body: object, headers = {}) => world.call('POST', '/deployments', { body, headers })
const there = async () => (await world.call('GET', '/deployments')).json.data.length

test('a dry run answers 200 and creates nothing, said in either place', async () => {
  const before = await there()
  const asked = await dry(on(w4, 'h100', 2))
  assert.equal(asked.status, 200, asked.text)
  assert.equal(asked.headers.get('location'), null)
  const inBody = await create(on(w4, 'h100', 2, { dry_run: true }))
  assert.deepEqual([inBody.status, inBody.json], [200, asked.json])
  assert.equal(await there(), before)
  assert.deepEqual([asked.json.dry_run, asked.json.would_create, asked.json.refusals], [true, true, []])
  assert.equal((await create(on(w4, 'h100', 2, { dry_run: false }))).status, 201)
  await world.call('DELETE', '/deployments/tried')
})

test('its numbers: memory, context, price, the cheapest, and all that would do', async () => {
  const { json } = await dry(on(w4, 'h100', 2, { replicas: 2 }))
  assert.equal(json.fit.verdict, 'fits')
  assert.deepEqual([json.fit.gpus, json.fit.cache_bytes_per_token, json.fit.context], [2, 160 * 1024, 131_072])
  assert.equal(json.fit.weights_gib, 18.5)
  assert.deepEqual(json.cheapest.gpu_type, 'mi300x')
  const { price } = json
  assert.deepEqual([price.hourly_cost_usd, price.daily_cost_usd, price.monthly_cost_usd], [17.64, 423.36, 12877.2])
  assert.deepEqual([price.hourly_cost_max_usd, price.asleep_cost_usd], [17.64, 0])
  const prices = json.runs_on.map((one: { hourly_cost_usd: number }) => one.hourly_cost_usd)
  assert.deepEqual(
    prices,
    [...prices].sort((a: number, b: number) => a - b),
  )
  assert.ok(json.runs_on.every((one: { fit: { verdict: string } }) => one.fit.verdict !== 'does_not_fit'))
  assert.equal(json.advice.conditions.length, 8)
  // Other hardware, another prediction.
  assert.equal((await dry(on(w4, 'mi300x'))).json.price.hourly_cost_usd, 2.59)
  const scaled = await dry(on(w4, 'mi300x', 1, { scaling: { min_replicas: 1, max_replicas: 4 } }))
  assert.deepEqual([scaled.json.price.hourly_cost_usd, scaled.json.price.hourly_cost_max_usd], [2.59, 10.36])
})

test('auto: the engine, and why; here the starter stands in', async () => {
  const text = (await dry(on(w4, 'h100'))).json
  assert.equal(text.engine.type, 'llamacpp')
  assert.match(text.engine.why, /the starter answers in its place here; its own weights would run on vllm\./)
  assert.deepEqual([text.emulated, text.served_by], [true, 'paddock/starter'])
  const seeing = (await dry(on('meta-llama/llama-4-scout-17b-16e-instruct', 'mi300x_8'))).json
  assert.match(seeing.engine.why, /would run on sglang/)
  const own = (await dry(wish('starter'))).json
  assert.deepEqual([own.engine.why, own.fit], ['llamacpp, because the weights are gguf.', null])
  const forced = await dry(on(w4, 'h100', 1, { engine: { type: 'vllm' } }))
  assert.deepEqual([forced.status, forced.json.would_create], [200, false])
  assert.deepEqual(forced.json.refusals[0].code, 'engine_not_available')
})

test('what does not fit: told in a dry run, refused at a create, created with force', async () => {
  const { json } = await dry(on(bf16, 'h100'))
  assert.deepEqual(
    [json.would_create, json.fit.verdict, json.refusals[0].code],
    [false, 'does_not_fit', 'does_not_fit'],
  )
  assert.equal(json.advice.recommend, 'gpus_per_replica')
  assert.equal(json.advice.gpu_count, 4)
  const refused = await create(on(bf16, 'h100'))
  assert.deepEqual([refused.status, refused.json.error.code], [422, 'does_not_fit'])
  assert.match(
    refused.json.error.message,
    /does not fit on 1 × h100\. Its weights need .* The cheapest that does: 1 × mi325x/,
  )
  assert.deepEqual(refused.json.error.detail.cheapest, { gpu_type: 'mi325x', gpu_count: 1 })
  assert.equal((await dry(on(bf16, 'h100', 1, { force: true }))).json.would_create, true)
  const made = await create(on(bf16, 'h100', 1, { force: true }))
  assert.equal(made.status, 201, made.text)
  // What was forced is not asked again for something else; other hardware is.
  const ceiling = await world.call('PATCH', '/deployments/tried', { body: { max_hourly_usd: 100 } })
  assert.equal(ceiling.status, 200, ceiling.text)
  const other = { gpu_count: 2 }
  assert.equal((await world.call('PATCH', '/deployments/tried', { body: other })).json.error.code, 'does_not_fit')
  assert.equal((await world.call('PATCH', '/deployments/tried', { body: { ...other, force: true } })).status, 200)
  assert.equal((await world.call('PATCH', '/deployments/tried', { body: { gpu_count: 4 } })).status, 200)
  await world.call('DELETE', '/deployments/tried')
})

test('on the CPU: what has no room is told and refused, and may be forced', async (t) => {
  const host = await makeWorld({}, { cpuMemoryGib: 0.5 })
  t.after(() => host.close())
  const wide = { ...wish('wide'), engine: { max_num_seqs: 1 } }
  const asked = await host.call('POST', '/deployments?dry_run=true', { body: wide })
  assert.deepEqual([asked.json.fit.verdict, asked.json.fit.gpus, asked.json.advice], ['fits', 0, null], asked.text)
  assert.deepEqual([asked.json.cheapest.gpu_type, asked.json.cheapest.hourly_cost_usd], ['cpu', 0])
  const small = await makeWorld({}, { cpuMemoryGib: 0.25 })
  t.after(() => small.close())
  const refused = await small.call('POST', '/deployments', { body: wide })
  assert.deepEqual([refused.status, refused.json.error.code], [422, 'does_not_fit'], refused.text)
  assert.match(refused.json.error.message, /does not fit on 1 × cpu\. Its weights need 0\.3 GiB of memory/)
  assert.equal((await small.call('POST', '/deployments', { body: { ...wide, force: true } })).status, 201)
  const [cpu] = (await small.call('GET', '/gpu-types')).json.data
  assert.deepEqual([cpu.gpu_type, cpu.vram_gb], ['cpu', 0.25])
  const configs = (await small.call('GET', '/gpu-model-configs?all=true')).json.data
  const row = configs.find(
    (one: Record<string, string>) => one.gpu_type === 'cpu' && one.model_id === 'paddock/starter',
  )
  assert.deepEqual([row.valid, row.gpu_counts, row.fit[0].verdict], [false, [], 'does_not_fit'])
})

test('a list of hardware: every choice is checked, and the one that does not fit is named', async () => {
  const hardware = [{ gpu_type: 'h100', gpu_count: 4 }, { gpu_type: 'h100' }]
  const { json } = await dry({ name: 'listed', model_id: bf16, hardware })
  assert.deepEqual(
    json.hardware.map((one: { fit: { verdict: string } }) => one.fit.verdict),
    ['fits', 'does_not_fit'],
  )
  const refused = await create({ name: 'listed', model_id: bf16, hardware })
  assert.match(refused.json.error.message, /^hardware\[1\]: /)
  assert.equal(refused.json.error.detail.field, 'hardware[1]')
})

test('context and cache as the engine is told', async () => {
  const asked = (max_model_len: number) => dry(on(w4, 'h100', 1, { engine: { max_model_len } }))
  assert.equal((await asked(8_192)).json.fit.verdict, 'fits')
  // The starter, which stands in, knows 8,192 tokens; what is checked is what was named.
  assert.equal((await asked(32_768)).json.fit.verdict, 'fits')
  assert.deepEqual((await asked(100_000)).json.refusals[0].code, 'does_not_fit')
  assert.match((await asked(131_073)).json.error.message, /max_model_len must be 64 to 131072/)
})

test('everything that stands against it is said at once', async () => {
  assert.equal((await create(wish('taken'))).status, 201)
  const body = { ...on(bf16, 'h100', 4), name: 'taken', replicas: 3, fail_fast: true }
  const { json, status } = await dry(body)
  assert.equal(status, 200)
  const codes = json.refusals.map(({ code }: { code: string }) => code)
  assert.deepEqual(codes.sort(), ['capacity_short', 'name_taken', 'quota_exceeded'])
  assert.ok(json.refusals.every((one: { message: string; action: string }) => one.message && one.action))
})

test('what no create could be is refused like one', async () => {
  for (const [body, status, code] of [
    [on('nobody/nothing', 'h100'), 422, 'model_not_supported'],
    [on(w4, 'h1000'), 422, 'gpu_type_unknown'],
    [on(w4, 'h100', 3), 422, 'gpu_count_unsupported'],
    [on(w4, 'h200'), 422, 'price_not_set'],
    [on(w4, 'h100', 1, { max_hourly_usd: 1 }), 422, 'price_ceiling'],
    [on(w4, 'h100', 1, { dry_run: 'yes' }), 400, 'invalid_request'],
    [{ ...on(w4, 'h100'), colour: 'red' }, 400, 'unknown_field'],
    [{}, 400, 'invalid_request'],
  ] as const) {
    const answer = await dry(body)
    assert.deepEqual([answer.status, answer.json.error.code], [status, code], answer.text)
  }
  assert.equal((await dry(on(w4, 'h100'), world.keys.viewerA)).status, 403)
})

test('another tenant’s name is free', async () => {
  assert.equal((await dry(wish('taken'), world.keys.ownerB)).json.would_create, true)
  assert.equal((await dry(wish('taken'))).json.would_create, false)
})

test('a key that was used for a dry run is still good', async () => {
  const key = { 'idempotency-key': 'dry-then-wet' }
  assert.equal((await create({ ...wish('keyed'), dry_run: true }, key)).status, 200)
  assert.equal((await create(wish('keyed'), key)).status, 201)
})

test('presets: their hardware, and whether it is here', async () => {
  const offer: Offer = {
    provider: 'made-up',
    gpuType: 'mi300x',
    region: 'nyc2',
    freeUnits: 8,
    totalUnits: 8,
    emulated: true,
  }
  const driver = { name: 'made-up', offers: async () => [offer] }
  const other = await makeWorld({}, { computes: new Map([['made-up', driver as never]]) })
  const asked = async (preset: string) => {
    const body = { name: 'with', model_id: w4, preset, dry_run: true }
    return (await other.call('POST', '/deployments', { body })).json
  }
  const cost = await asked('cost')
  assert.deepEqual([cost.preset, cost.hardware[0].gpu_type, cost.scaling.scale_to_zero], ['cost', 'mi300x', true])
  assert.deepEqual([cost.would_create, cost.fit.verdict], [true, 'fits'])
  const latency = await asked('latency')
  assert.deepEqual(
    latency.refusals.map(({ code }: { code: string }) => code),
    ['hardware_absent'],
  )
  const condition = latency.advice.conditions.find((one: { condition: string }) => one.condition === 'low_latency')
  assert.equal(condition.applies, true)
  await other.close()
})

test('the client predicts', async () => {
  const send = (async (url: string, init: RequestInit) => world.app.request(url, init)) as typeof fetch
  const client = new NativeClient({ url: 'http://paddock.test/', key: world.keys.ownerA, fetch: send })
  const predicted = await client.predictDeployment({ ...wish('by-client'), gpu_type: 'h100' })
  assert.deepEqual([predicted.dry_run, predicted.fit?.verdict], [true, 'fits'])
})
