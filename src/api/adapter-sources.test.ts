/** LoRA adapters from the Hub, from uploads and with a create; and what becomes of them when their deployment changes. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { routeOf } from '../deployments/store.ts'
import { writeTestAdapter } from '../engines/llamacpp/worker/testing-adapter.ts'
import { availableEngines, engineDrivers } from '../engines/registry.ts'
import { makeHub } from '../models/hub/setup.ts'
import { HubServer } from '../models/hub/testing/hub-server.ts'
import { safetensorsRepo, starterBytes } from '../models/hub/testing/repos.ts'
import { tinyGguf, uploadForm } from '../models/uploads/testing.ts'
import { silentLog } from '../runtime/log.ts'
import { packageRoot } from '../runtime/self.ts'
import { makeWorld, type World, wish } from './testing.ts'

const hub = new HubServer()
const folder = mkdtempSync(join(realpathSync(tmpdir()), 'paddock-adapter-sources-'))
const starter = (name: string) => readFileSync(join(packageRoot, 'models', 'starter', name))
const gguf = starter('pirate/pirate.gguf')
const peft = {
  'adapter_config.json': starter('pirate/adapter_config.json'),
  'adapter_model.safetensors': starter('pirate/adapter_model.safetensors'),
}
const wrong = (over: object) => readFileSync(writeTestAdapter(join(folder, 'made.gguf'), { seed: 3, ...over }))
let world: World

before(async () => {
  await hub.start()
  hub.repos.put('ann/tiny', { 'tiny.gguf': starterBytes })
  hub.repos.put('ann/text', safetensorsRepo())
  hub.repos.put('ann/pirate', { ...peft, 'pirate.gguf': gguf, 'README.md': '#' })
  hub.repos.put('ann/peft', { ...peft })
  hub.repos.put('ann/many', { 'pirate/adapter_config.json': '{}', 'b/x.gguf': gguf, 'c/y.gguf': gguf })
  hub.repos.put('ann/pickled', { 'adapter_config.json': '{}', 'adapter_model.bin': 'x' })
  hub.repos.put('ann/other', { 'other.gguf': wrong({ inputs: 32 }) })
  hub.repos.put('ann/strange', { 'strange.gguf': wrong({ base: 'acme/other' }) })
  hub.repos.put('ann/cut', { 'cut.gguf': gguf.subarray(0, gguf.length - 64) })
  hub.repos.put('ann/gated', { 'pirate.gguf': gguf }, { gated: 'manual' })
  hub.repos.put('ann/private', { 'pirate.gguf': gguf }, { private: true })
  hub.repos.account('hf_granted_0001', 'ann', 'ann/gated', 'ann/private')
  const limits = { bytesMaximum: 0, freeBytesMinimum: 0 }
  const engines = new Map([...availableEngines(), ...engineDrivers.map((driver) => [driver.type, driver] as const)])
  const rest = { log: silentLog, folder: join(folder, 'hub'), timeoutMs: 20_000, limits, filesAtOnce: 1 }
  world = await makeWorld(
    {},
    {
      hub: (parts) => makeHub({ ...parts, ...rest, endpoint: hub.url, bases: () => [] }),
      models: { hubFolder: join(folder, 'hub') },
      modelPaths: [folder],
      engines,
    },
  )
})
after(async () => {
  await world.close()
  await hub.close()
  rmSync(folder, { recursive: true })
})

const create = async (name: string, more: object = {}): Promise<string> => {
  const made = await world.call('POST', '/deployments', { body: { ...wish(name), ...more } })
  assert.equal(made.status, 201, made.text)
  return made.json.id
}
const add = (id: string, body: object, more: object = {}) =>
  world.call('POST', `/deployments/${id}/adapters`, { body, ...more })
const list = async (id: string) => (await world.call('GET', `/deployments/${id}/adapters`)).json.data
const patch = (id: string, body: object) => world.call('PATCH', `/deployments/${id}`, { body })
const said = ({ status, json }: { status: number; json: { error: { code: string } } }) => [status, json.error.code]

test('from the Hub: pinned to its commit, in the format of the engine, and no weights asked for', async () => {
  const id = await create('hub')
  const first = hub.repos.byId.get('ann/pirate')!.refs.get('main')!
  const added = await add(id, { source: 'hf:ann/pirate' })
  assert.equal(added.status, 201, added.text)
  const { name, format, rank, base_model: base, hub: from, size_bytes: size } = added.json
  assert.deepEqual([name, format, rank, base], ['pirate', 'gguf', 8, 'paddock/starter'])
  assert.deepEqual(from, { repo: 'ann/pirate', revision: 'main', sha: first })
  assert.equal(size, gguf.length)
  hub.repos.put('ann/pirate', { ...peft, 'pirate.gguf': gguf, 'README.md': 'new' })
  assert.equal((await list(id))[0].hub.sha, first, 'what it is does not move with the branch')
  const named = await add(id, { source: `hf:ann/pirate/pirate.gguf@${first}`, name: 'again' })
  assert.deepEqual([named.json.hub.sha, named.json.hub.revision], [first, first])
  const folded = await add(id, { source: 'hf:ann/many/b/x.gguf@main' })
  assert.deepEqual([folded.status, folded.json.name], [201, 'x'], folded.text)
  assert.equal(hub.cdn.leaked, 0)
})

test('what the Hub refuses, and what is no adapter: each with its code, and nothing is written', async () => {
  const id = await create('refused')
  const viewer = world.keys.viewerA
  const asked = hub.asked.length
  assert.equal((await add(id, { source: 'hf:ann/pirate' }, { key: viewer })).status, 403)
  assert.equal(hub.asked.length, asked, 'nothing is asked for who may not')
  for (const [source, status, code] of [
    ['hf:ann/nowhere', 422, 'hub_repo_not_found'],
    ['hf:ann/private', 422, 'hub_repo_not_found'],
    ['hf:ann/gated', 422, 'hub_token_missing'],
    ['hf:ann/pirate@gone', 422, 'hub_revision_not_found'],
    ['hf:ann/pirate/none.gguf', 422, 'hub_file_not_found'],
    ['hf:ann/peft/none', 422, 'hub_file_not_found'],
    ['hf:ann/text', 422, 'hub_no_weights'],
    ['hf:ann/pickled', 422, 'hub_no_weights'],
    ['hf:ann/tiny', 422, 'adapter_unreadable'],
    ['hf:ann/cut', 422, 'adapter_unreadable'],
    ['hf:ann/peft', 400, 'adapter_unsuitable'],
    ['hf:ann/other', 422, 'adapter_mismatch'],
    ['hf:ann/strange', 422, 'adapter_mismatch'],
    ['hf:ann', 400, 'invalid_request'],
    ['hf:', 400, 'invalid_request'],
    ['hf:ann/../pirate', 400, 'invalid_request'],
    ['hf:änn/pirate', 400, 'invalid_request'],
    [`hf:ann/${'x'.repeat(3000)}`, 400, 'invalid_request'],
  ] as const) {
    const refused = await add(id, { source, name: 'x' })
    assert.deepEqual(said(refused), [status, code], refused.text)
    if (code === 'adapter_mismatch')
      assert.equal(refused.json.error.message, 'LoRA adapter does not match base model', source)
    if (code === 'invalid_request') assert.match(refused.json.error.message, /^source: /)
  }
  assert.equal((await add(id, { source: 'hf:ann/strange', force: true })).status, 201)
  hub.broken = 1
  assert.deepEqual(said(await add(id, { source: 'hf:ann/pirate' })), [503, 'hub_unreachable'])
  assert.equal((await list(id)).length, 1)
})

test('the token of the organisation opens what is gated; that of another does not', async () => {
  const put = await world.call('PUT', `/orgs/${world.orgA}/hf-token`, { body: { token: 'hf_granted_0001' } })
  assert.equal(put.status, 200, put.text)
  const id = await create('gated')
  assert.equal((await add(id, { source: 'hf:ann/gated', name: 'a' })).status, 201)
  assert.equal((await add(id, { source: 'hf:ann/private', name: 'b' })).status, 201)
  const key = world.keys.ownerB
  const theirs = await world.call('POST', '/deployments', { key, body: wish('theirs') })
  assert.deepEqual(said(await add(theirs.json.id, { source: 'hf:ann/gated' }, { key })), [422, 'hub_token_missing'])
  assert.equal((await add(id, { source: 'hf:ann/pirate' }, { key })).status, 404)
  await world.call('DELETE', `/orgs/${world.orgA}/hf-token`)
})

test('an engine that loads PEFT gets PEFT, and a model that is still to come is matched by what was read of it', async () => {
  const engine = { type: 'vllm' }
  const id = await create('peft', { model_id: 'hf:ann/text', gpu_type: 'h100', engine })
  const refused = await add(id, { source: 'hf:ann/pirate', allow_downtime: true, force: true })
  assert.deepEqual(said(refused), [422, 'adapter_mismatch'], refused.text)
  assert.match(refused.json.error.detail.reason, /channels; the model's has/)
  const only = await add(id, { source: 'hf:ann/other', allow_downtime: true })
  assert.deepEqual(said(only), [400, 'adapter_unsuitable'], only.text)
})

const upload = async (name: string, file: Buffer, key?: string) => {
  const body = uploadForm(name, file)
  const sent = await world.call('POST', '/models/upload', { body, ...(key === undefined ? {} : { key }) })
  assert.equal(sent.status, 201, sent.text)
  await world.uploads.loop.settle()
}
const forget = (name: string) => world.call('DELETE', `/models/byom/${name}`)

test('an uploaded one: by its name, kept while it is used, free again afterwards', async () => {
  await upload('pirate.v1', gguf)
  await upload('model', tinyGguf())
  const id = await create('byom')
  const added = await add(id, { source: 'byom:pirate.v1' })
  assert.deepEqual([added.status, added.json.name, added.json.hub], [201, 'pirate-v1', null], added.text)
  assert.equal(added.json.size_bytes, gguf.length)
  const refused = await forget('pirate.v1')
  assert.deepEqual(said(refused), [409, 'conflict'])
  assert.match(refused.json.error.message, /byom/)
  for (const [source, status, code] of [
    ['byom:nothing', 422, 'adapter_not_supported'],
    ['byom:', 422, 'adapter_not_supported'],
    ['byom:../x', 422, 'adapter_not_supported'],
    ['byom:model', 422, 'adapter_unreadable'],
  ] as const) {
    const answer = await add(id, { source, name: 'x' })
    assert.deepEqual(said(answer), [status, code], answer.text)
  }
  const key = world.keys.ownerB
  const theirs = await world.call('POST', '/deployments', { key, body: wish('byom-theirs') })
  assert.deepEqual(said(await add(theirs.json.id, { source: 'byom:pirate.v1' }, { key })), [
    422,
    'adapter_not_supported',
  ])
  assert.equal((await world.call('DELETE', `/deployments/${id}/adapters/pirate-v1`)).status, 200)
  assert.equal((await forget('pirate.v1')).status, 200)
})

test('added and deleted at once: one of the two is refused, and what is used is there', async () => {
  const id = await create('race')
  for (let n = 0; n < 3; n++) {
    await upload(`race${n}`, gguf)
    const [added, deleted] = await Promise.all([add(id, { source: `byom:race${n}` }), forget(`race${n}`)])
    const used = added.status === 201
    assert.equal(deleted.status, used ? 409 : 200, `${added.text} ${deleted.text}`)
  }
})

test('deleting the deployment frees its uploaded adapters', async () => {
  await upload('freed', gguf)
  const id = await create('frees', { adapters: [{ source: 'byom:freed' }] })
  assert.equal((await forget('freed')).status, 409)
  assert.equal((await world.call('DELETE', `/deployments/${id}`)).status, 200)
  assert.equal((await forget('freed')).status, 200)
})

test('with a create: there from the start; one that does not fit refuses the whole', async () => {
  const local = writeTestAdapter(join(folder, 'local.gguf'), { seed: 9 })
  const adapters = [{ source: 'hf:ann/pirate' }, { source: local, name: 'mine' }]
  const id = await create('born', { adapters })
  assert.deepEqual(
    (await list(id)).map(({ name, state }: { name: string; state: string }) => [name, state]),
    [
      ['pirate', 'pending'],
      ['mine', 'pending'],
    ],
  )
  assert.deepEqual(Object.keys((await routeOf(world.db, id))?.adapters ?? {}).sort(), ['mine', 'pirate'])
  const events = (await world.call('GET', `/deployments/${id}/events`)).json.data.map((e: { type: string }) => e.type)
  assert.equal(events.filter((type: string) => type === 'adapter.added').length, 2)
  const fixed = await create('born-fixed', { adapters, engine: { type: 'llama-server' } })
  assert.equal((await world.call('GET', `/deployments/${fixed}`)).json.revision, 1)
  const row = await world.db.query<{ count: number }>(
    `select (spec #>> '{engine,adapterRoom,count}')::integer as count from deployments where id = $1`,
    [fixed],
  )
  assert.equal(row[0]!.count, 2, 'its launch names both')
  for (const [name, list, status, code] of [
    ['misfit', [{ source: 'hf:ann/pirate' }, { source: 'hf:ann/other' }], 422, 'adapter_mismatch'],
    ['twice', [{ source: local }, { source: local }], 409, 'name_taken'],
    ['crowd', ['a', 'b', 'c', 'd'].map((name) => ({ source: local, name })), 400, 'engine_unsupported'],
    ['none', [{ name: 'x' }], 400, 'invalid_request'],
    ['odd', [{ source: local, nmae: 'x' }], 400, 'unknown_field'],
    ['no-list', 'hf:ann/pirate', 400, 'invalid_request'],
    ['outside', [{ source: '/etc/passwd' }], 400, 'model_path_not_allowed'],
  ] as const) {
    const body = { ...wish(name), adapters: list }
    const refused = await world.call('POST', '/deployments', { body })
    assert.deepEqual(said(refused), [status, code], refused.text)
    assert.equal((await world.call('GET', `/deployments/${name}`)).status, 404)
  }
  const dry = await world.call('POST', '/deployments?dry_run=true', {
    body: { ...wish('dry'), adapters: [{ source: 'hf:ann/other' }] },
  })
  assert.equal(dry.status, 200, dry.text)
  assert.deepEqual(
    dry.json.refusals.map(({ code }: { code: string }) => code),
    ['adapter_mismatch'],
  )
  assert.equal(typeof dry.json.refusals[0].detail.reason, 'string', 'the message alone does not say why')
  assert.equal((await world.call('GET', '/deployments/dry')).status, 404)
})

test('what a deployment is changed to must fit its adapters; room is made where the engine needs it', async () => {
  hub.repos.put('ann/twin', { 'twin.gguf': starterBytes })
  const id = await create('changes', { adapters: [{ source: 'hf:ann/pirate' }] })
  const body = { model_id: 'hf:ann/text', gpu_type: 'h100', engine: { type: 'vllm' }, allow_downtime: true }
  const other = await patch(id, body)
  assert.deepEqual(said(other), [400, 'adapter_unsuitable'], other.text)
  await upload('small', tinyGguf())
  const misfit = await patch(id, { model_id: 'byom:small', allow_downtime: true })
  assert.deepEqual(said(misfit), [422, 'adapter_mismatch'], misfit.text)
  assert.equal(misfit.json.error.message, 'LoRA adapter does not match base model')
  assert.equal(misfit.json.error.detail.adapter, 'pirate')
  assert.match(misfit.json.error.detail.reason, /does not have/)
  assert.equal((await world.call('GET', `/deployments/${id}`)).json.revision, 1)
  const room = async () => {
    const [row] = await world.db.query<{ room: { fixed: string[] } | null }>(
      `select spec #> '{engine,adapterRoom}' as room from deployments where id = $1`,
      [id],
    )
    return row!.room
  }
  assert.equal(await room(), null)
  const moved = await patch(id, { engine: { type: 'llama-server' }, allow_downtime: true })
  assert.equal(moved.status, 200, moved.text)
  const [{ id: adapterId }] = await list(id)
  assert.deepEqual((await room())?.fixed, [adapterId])
  const back = await world.call('POST', `/deployments/${id}/rollback`, { body: { revision: 1, allow_downtime: true } })
  assert.equal(back.status, 200, back.text)
  assert.equal(await room(), null)
  await world.call('DELETE', `/deployments/${id}/adapters/pirate`)
  const again = await world.call('POST', `/deployments/${id}/rollback`, { body: { revision: 2, allow_downtime: true } })
  assert.equal(again.status, 200, again.text)
  assert.equal(await room(), null, 'what was removed is not launched again')
})

test('an engine that nobody named follows the model; one that somebody did stays', async () => {
  const engineOf = (answer: Awaited<ReturnType<typeof patch>>) => answer.json.engine
  const free = await create('free')
  const dearer = await patch(free, { max_hourly_usd: 50 })
  assert.match(engineOf(dearer).why, /^llamacpp, because the weights are gguf\./)
  const text = { model_id: 'hf:ann/text', gpu_type: 'h100', allow_downtime: true }
  const followed = await patch(free, text)
  assert.deepEqual([followed.status, engineOf(followed).type], [200, 'vllm'], followed.text)
  const back = { model_id: 'paddock/starter', gpu_type: 'cpu', allow_downtime: true }
  assert.equal(engineOf(await patch(free, back)).type, 'llamacpp')
  const named = await create('named', { engine: { type: 'llamacpp' } })
  const refused = await patch(named, text)
  assert.deepEqual(said(refused), [400, 'invalid_request'], refused.text)
  assert.match(refused.json.error.message, /GGUF files only/)
  assert.equal(engineOf(await patch(named, { ...text, engine: { type: 'auto' } })).type, 'vllm')
})

test('a GGUF on GPUs is not given to the engine that would leave them idle', async () => {
  const onGpu = await world.call('POST', '/deployments', { body: { ...wish('on-gpu'), gpu_type: 'h100' } })
  assert.deepEqual([onGpu.status, onGpu.json.engine.type], [201, 'llama-server'], onGpu.text)
  assert.match(onGpu.json.engine.why, /the hardware has GPUs/)
  const onCpu = await patch('on-gpu', { gpu_type: 'cpu', allow_downtime: true })
  assert.equal(onCpu.json.engine.type, 'llamacpp', onCpu.text)
})

test('an engine has to run the architecture; `auto` takes one that does', async () => {
  hub.repos.put('ann/smol', safetensorsRepo({ architectures: ['SmolVLMForConditionalGeneration'] }))
  hub.repos.put('ann/mllama', safetensorsRepo({ architectures: ['MllamaForConditionalGeneration'] }))
  const on = { gpu_type: 'h100' }
  const made = await world.call('POST', '/deployments', { body: { ...wish('smol'), ...on, model_id: 'hf:ann/smol' } })
  assert.deepEqual([made.status, made.json.engine.type], [201, 'vllm'], made.text)
  assert.match(made.json.engine.why, /^vllm, because sglang does not run the architecture SmolVLM/)
  for (const [model_id, type, other] of [
    ['hf:ann/smol', 'sglang', 'vllm'],
    ['hf:ann/mllama', 'vllm', 'sglang'],
  ]) {
    const body = { ...wish('foreign'), ...on, model_id, engine: { type } }
    const refused = await world.call('POST', '/deployments', { body })
    assert.deepEqual(said(refused), [422, 'model_not_supported'], refused.text)
    assert.deepEqual(refused.json.error.detail.engines, [other])
  }
})

test('an adapter of what the model was made of fits, as the model’s card names it', async () => {
  hub.repos.put('ann/renamed', { 'renamed.gguf': starterBytes }, { tags: ['base_model:quantized:acme/other'] })
  const id = await create('lineage', { model_id: 'hf:ann/renamed' })
  const fits = await add(id, { source: 'hf:ann/strange' })
  assert.equal(fits.status, 201, fits.text)
  hub.repos.put('ann/silent', { 'renamed.gguf': starterBytes })
  const other = await create('no-lineage', { model_id: 'hf:ann/silent' })
  const refused = await add(other, { source: 'hf:ann/strange' })
  assert.deepEqual(said(refused), [422, 'adapter_mismatch'], refused.text)
  assert.match(refused.json.error.detail.reason, /trained on "acme\/other"; this deployment serves "ann\/silent"/)
})

test('a server without a Hub says so', async () => {
  const own = await makeWorld()
  try {
    const made = await own.call('POST', '/deployments', { body: wish('x') })
    const path = `/deployments/${made.json.id}/adapters`
    const answer = await own.call('POST', path, { body: { source: 'hf:ann/pirate' } })
    assert.deepEqual(said(answer), [422, 'hub_off'])
  } finally {
    await own.close()
  }
})
