/** The catalogue over the API: what ships, what the operator adds, and what goes with which hardware. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { thoughtForms, toolCallForms } from '../engines/contract.forms.ts'
import shipped from '../models/catalogue/models.json' with { type: 'json' }
import type { Models } from '../models/commands.ts'
import { packageRoot } from '../runtime/self.ts'
import { modelEntries } from '../wire/native/catalogue.ts'
import { check } from '../wire/native/check.ts'
import { makeWorld, type World } from './testing.ts'

let world: World
const folder = mkdtempSync(join(tmpdir(), 'paddock-models-'))
before(async () => {
  world = await makeWorld()
})
after(async () => {
  rmSync(folder, { recursive: true })
  await world.close()
})

const operator = () => ({ key: world.keys.operator })
const entry = (id: string) => ({ id, source_repo: 'acme/x', context_size: 8192, tensor_type: 'BF16' })
const add = (body: object, headers = {}) => world.call('POST', '/models', { ...operator(), body, headers })
const listed = async (query = '') => (await world.call('GET', `/models${query}`)).json.data
const one = async (id: string) => (await listed()).find((model: { id: string }) => model.id === id)
const config = {
  architectures: ['LlamaForCausalLM'],
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  hidden_size: 4096,
  intermediate_size: 14336,
  max_position_embeddings: 131072,
}

test('what ships is written as what the operator may write', () => {
  const foreign = shipped.filter(({ id }) => id !== 'paddock/starter')
  assert.deepEqual(check(modelEntries, foreign, 'body').problems, [])
})

/** name, vision, reasoning, function calling, structured output, context, tensor type; the first five are not gated. */
const table = [
  ['deepseek/deepseek-r1-0528-qwen3-8b', 0, 1, 0, 0, 128000, 'BF16'],
  ['meta-llama/llama-4-scout-17b-16e-instruct', 1, 0, 1, 0, 131072, 'BF16'],
  ['deepseek/deepseek-r1-distill-llama-8b', 0, 1, 0, 1, 32000, 'BF16'],
  ['qwen/qwen3-8b-fp8', 0, 1, 0, 0, 128000, 'FP8'],
  ['qwen/qwen3-4b-fp8', 0, 1, 0, 0, 128000, 'FP8'],
  ['meta-llama/llama-3.1-8b-instruct', 0, 0, 0, 0, 16384, 'FP8'],
  ['meta-llama/llama-3.3-70b-instruct', 0, 0, 1, 1, 131072, 'BF16'],
  ['meta-llama/llama-3.2-3b-instruct', 0, 0, 1, 0, 32768, 'BF16'],
  ['novita/inflatebot-mn-12B-mag-mell-r1-awq-fp8', 1, 0, 1, 1, 32000, 'FP8'],
  ['novita/sao10k-l3-8b-stheno-v3.2-awq-fp8', 0, 0, 0, 0, 8192, 'FP8'],
  ['deepseek/deepseek-v3-0324', 0, 0, 1, 0, 163840, 'FP8'],
] as const

test('the eleven models with what each can', async () => {
  const models = await listed()
  for (const [at, [id, ...cells]] of table.entries()) {
    const model = models.find((seen: { id: string }) => seen.id === id)
    const can = (what: string) => (model.capabilities.includes(what) ? 1 : 0)
    const seen = [can('vision'), can('reasoning'), can('function-calling'), can('structured-output')]
    assert.deepEqual([...seen, model.context_size, model.tensor_type], cells, id)
    assert.equal(model.gated, at >= 5, id)
    const isKnown = !id.startsWith('novita/')
    assert.equal(model.deployable, isKnown, id)
    assert.equal(model.source_repo !== null, isKnown, id)
    assert.equal(model.weight_gb !== null, isKnown, id)
    if (!isKnown) assert.match(model.reason, /No published weights/)
  }
})

test('one that is not deployable: left out on request, and refused with the list of what is', async () => {
  const deployable = await listed('?deployable=true')
  assert.ok(deployable.every((model: { deployable: boolean }) => model.deployable))
  assert.equal(deployable.length, (await listed()).length - 2)
  assert.equal((await world.call('GET', '/models?deployable=maybe')).status, 400)
  const body = { name: 'none', model_id: 'novita/sao10k-l3-8b-stheno-v3.2-awq-fp8', gpu_type: 'h100' }
  const refused = await world.call('POST', '/deployments', { body })
  assert.deepEqual([refused.status, refused.json.error.code], [422, 'model_not_supported'])
  assert.ok(refused.json.error.detail.supported.includes('qwen/qwen3-8b-fp8'))
  assert.ok(!refused.json.error.detail.supported.includes(body.model_id))
})

test('what the operator adds is there for everybody, checked and deployable', async () => {
  const made = await add({ ...entry('acme/llama'), config, weight_bytes: 16e9, context_size: 131072 })
  assert.equal(made.status, 201, made.text)
  assert.deepEqual([made.json.architecture, made.json.weight_gb, made.json.added_by], ['LlamaForCausalLM', 16, 'api'])
  const seen = await world.call('GET', '/models', { key: world.keys.ownerB })
  assert.ok(seen.json.data.some((model: { id: string }) => model.id === 'acme/llama'))
  const configs = (await world.call('GET', '/gpu-model-configs')).json.data
  const row = configs.find((c: Record<string, string>) => c.model_id === 'acme/llama' && c.gpu_type === 'h100')
  assert.deepEqual([row.gpu_counts, row.fit.length, row.fit[0].verdict], [[1, 2, 4], 3, 'fits'])
  assert.equal(row.fit[0].cache_bytes_per_token, 128 * 1024)
  const deployed = await world.call('POST', '/deployments', {
    body: { name: 'acme', model_id: 'acme/llama', gpu_type: 'h100' },
  })
  assert.equal(deployed.status, 201, deployed.text)
})

test('how a model writes calls and thoughts is known wherever it makes any', async () => {
  const models = (await world.call('GET', '/models')).json.data.filter(
    (model: { source_repo: string }) => model.source_repo,
  )
  assert.ok(models.length > 8)
  for (const { id, added_by, capabilities, tool_calls, thoughts } of models) {
    if (added_by !== 'paddock') continue
    assert.equal(tool_calls !== null, capabilities.includes('function-calling'), id)
    assert.equal(thoughts !== null, capabilities.includes('reasoning'), id)
  }
  for (const tool_calls of toolCallForms)
    for (const thoughts of thoughtForms) {
      const made = await add({ ...entry('acme/forms'), tool_calls, thoughts, replace: true })
      assert.deepEqual([made.json.tool_calls, made.json.thoughts], [tool_calls, thoughts], made.text)
    }
  assert.match(
    (await add({ ...entry('acme/form'), tool_calls: 'morse' })).json.error.message,
    /tool_calls: must be one of/,
  )
})

test('the same id: 409, unless it is to be replaced; the same key: once', async () => {
  assert.equal((await add(entry('acme/twice'))).status, 201)
  const again = await add(entry('acme/twice'))
  assert.deepEqual([again.status, again.json.error.code], [409, 'name_taken'])
  assert.match(again.json.error.message, /"replace": true/)
  assert.equal((await add({ ...entry('acme/twice'), title: 'Other', replace: true })).status, 201)
  assert.equal((await one('acme/twice')).title, 'Other')
  const key = { 'idempotency-key': 'model-once' }
  for (const _ of [1, 2]) assert.equal((await add(entry('acme/once'), key)).status, 201)
  const ours = await add({ ...entry('qwen/qwen3-8b-fp8'), replace: true })
  assert.deepEqual([ours.status, /ships with Paddock/.test(ours.json.error.message)], [409, true])
  const both = await Promise.all([add(entry('acme/race')), add(entry('acme/race'))])
  assert.deepEqual(both.map(({ status }) => status).sort(), [201, 409])
})

test('only the operator', async () => {
  for (const key of [world.keys.ownerA, world.keys.ownerB, world.keys.developerA])
    assert.equal((await world.call('POST', '/models', { key, body: entry('acme/mine') })).status, 403)
  assert.equal(await one('acme/mine'), undefined)
})

for (const [what, change, status, message] of [
  ['nothing', { id: undefined, context_size: undefined }, 400, /id: .*context_size: /],
  ['an unknown field', { colour: 'red' }, 400, /colour/],
  ['an id with a scheme', { id: 'hf:a/b' }, 400, /id: /],
  ['an id of adapters', { id: 'a:b' }, 400, /id: /],
  ['an id that climbs', { id: '../x' }, 400, /id: /],
  ['an id of a file', { id: 'a/b.GGUF' }, 400, /id: /],
  ['a long id', { id: 'x'.repeat(129) }, 400, /id: /],
  ['a repository that is none', { source_repo: 'https://x/y/z' }, 400, /source_repo/],
  ['a repository that climbs', { source_repo: '../x' }, 400, /source_repo: has "\.\."/],
  ['a revision that is none', { revision: 'a b@c' }, 400, /source_repo: has /],
  ['a huge context', { context_size: 1e12 }, 400, /context_size/],
  ['a capability that is none', { capabilities: ['flying'] }, 400, /capabilities\[0\]/],
  ['a huge config', { config: { text: 'x'.repeat(70_000) }, weight_bytes: 1 }, 400, /config: .*65536 bytes/],
  ['no source at all', { source_repo: null }, 400, /source_repo/],
  ['weights without a config', { weight_bytes: 1 }, 400, /config/],
  ['a config without weights', { config }, 400, /weight_bytes/],
  ['a config that says nothing', { config: { a: 1 }, weight_bytes: 1 }, 400, /num_hidden_layers is missing/],
  ['a relative path', { source_repo: null, path: 'x.gguf' }, 400, /must be absolute/],
  ['a path that is not there', { source_repo: null, path: '/nowhere/x.gguf' }, 422, /no file at \/nowhere\/x\.gguf/],
  [
    'an architecture that nothing runs',
    { config: { ...config, architectures: ['BertModel'] }, weight_bytes: 1 },
    422,
    /Neither vLLM nor SGLang runs the architecture "BertModel"/,
  ],
] as const)
  test(`refused: ${what}`, async () => {
    const answer = await add({ ...entry('acme/bad'), ...change })
    assert.equal(answer.status, status, answer.text)
    assert.match(answer.json.error.message, message)
    assert.equal(await one('acme/bad'), undefined)
  })

test('a file on this machine: deployable, and its path is nobody’s business', async () => {
  const path = join(packageRoot, 'models/starter/paddock-starter.gguf')
  const body = { id: 'acme/file', path, context_size: 2048, tensor_type: 'F32' }
  const made = await add(body)
  assert.equal(made.status, 201, made.text)
  assert.deepEqual([made.json.deployable, made.json.emulated, made.json.source_repo], [true, false, null])
  assert.doesNotMatch(JSON.stringify(await one('acme/file')), /starter\.gguf/)
  const link = join(folder, 'link.gguf')
  symlinkSync(path, link)
  assert.equal((await add({ ...body, id: 'acme/link', path: link })).status, 201, 'the operator’s word is enough')
  const created = await world.call('POST', '/deployments', {
    body: { name: 'short', model_id: 'acme/link', gpu_type: 'cpu', engine: { max_model_len: 4096 } },
  })
  assert.match(created.json.error.message, /max_model_len must be 64 to 2048/, 'no more than its entry says')
  const broken = join(folder, 'broken.gguf')
  writeFileSync(broken, 'no model')
  assert.equal((await add({ ...body, id: 'acme/broken', path: broken })).status, 422)
})

const remove = (id: string, key = world.keys.operator) =>
  world.call('DELETE', `/models/${encodeURIComponent(id)}`, { key })

test('what was added is taken out again, once, by the operator only', async () => {
  await add(entry('acme/gone'))
  for (const key of [world.keys.ownerA, world.keys.ownerB]) assert.equal((await remove('acme/gone', key)).status, 403)
  const removed = await remove('acme/gone')
  assert.deepEqual([removed.status, removed.json.id, removed.json.deployable], [200, 'acme/gone', false], removed.text)
  assert.equal(await one('acme/gone'), undefined)
  assert.equal((await remove('acme/gone')).status, 404)
  assert.equal((await add(entry('acme/gone'))).status, 201, 'and the id is free')
  const events = await world.db.query<{ type: string }>(
    `select type from events where data ->> 'model_id' = 'acme/gone' order by seq`,
  )
  assert.deepEqual(
    events.map(({ type }) => type),
    ['model.added', 'model.removed', 'model.added'],
  )
})

test('not taken out: what ships, what is not there, what is no id', async () => {
  const ours = await remove('qwen/qwen3-8b-fp8')
  assert.deepEqual([ours.status, ours.json.error.code], [409, 'conflict'])
  assert.match(ours.json.error.message, /ships with Paddock/)
  for (const id of ['acme/never', 'byom:mine', '../models', '%', 'x'.repeat(5_000), "a'; drop table orgs"])
    assert.equal((await remove(id)).status, 404, id)
})

test('one that a deployment uses stays, whoever it belongs to; the answer names them', async () => {
  const id = 'acme/used'
  await add({ ...entry(id), config, weight_bytes: 16e9, context_size: 8192 })
  const deploy = (name: string, key: string) =>
    world.call('POST', '/deployments', { key, body: { name, model_id: id, gpu_type: 'h100' } })
  const used = await deploy('uses-it', world.keys.ownerB)
  assert.equal(used.status, 201, used.text)
  const refused = await remove(id)
  assert.deepEqual([refused.status, refused.json.error.code], [409, 'conflict'])
  assert.match(refused.json.error.message, /"acme\/used" is used by uses-it \(org_/)
  assert.deepEqual(
    refused.json.error.detail.deployments.map((one: { id: string }) => one.id),
    [used.json.id],
  )
  // Stopped, it could be started again; deleted, it cannot.
  await world.call('POST', `/deployments/${used.json.id}/stop`, { key: world.keys.ownerB })
  assert.equal((await remove(id)).status, 409)
  await world.call('DELETE', `/deployments/${used.json.id}`, { key: world.keys.ownerB })
  assert.equal((await remove(id)).status, 200)
  assert.equal((await deploy('too-late', world.keys.ownerB)).json.error.code, 'model_not_supported')
})

test('taken out and deployed at the same time: one of the two, never a deployment of nothing', async () => {
  const outcomes = new Set<string>()
  for (let n = 0; n < 8; n += 1) {
    const id = `acme/race-${n}`
    await add({ ...entry(id), config, weight_bytes: 16e9, context_size: 8192 })
    const body = { name: `race-${n}`, model_id: id, gpu_type: 'h100' }
    const [made, gone] = await Promise.all([
      world.call('POST', '/deployments', { key: world.keys.ownerB, body }),
      remove(id),
    ])
    outcomes.add(`${made.status} ${gone.status}`)
    if (made.status === 201) await world.call('DELETE', `/deployments/${body.name}`, { key: world.keys.ownerB })
  }
  for (const seen of outcomes) assert.ok(seen === '201 409' || seen === '422 200', seen)
})

test('another control sees what was added, and what it cannot read it leaves out', async () => {
  const book = world.options.catalogue as Models
  await world.db.query('insert into catalogue_models (id, entry, added_at) values ($1, $2, now()), ($3, $4, now())', [
    'later/one',
    JSON.stringify(entry('later/one')),
    'later/odd',
    JSON.stringify({ id: 'later/odd', context_size: 1, tensor_type: 'X' }),
  ])
  const ids = (await book.refresh()).all().map(({ id }) => id)
  assert.deepEqual([ids.includes('later/one'), ids.includes('later/odd')], [true, false])
})
