/** From a name on the Hub to what will run: every way in which it may be wrong, in the order in which it is said. */
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import { Fault } from '../../kernel/fault.ts'
import { Secret } from '../../kernel/secret.ts'
import { systemClock } from '../../runtime/clock.ts'
import { HubClient } from './client.ts'
import { HubHttp } from './http.ts'
import { type HubSource, type PinOptions, pinHubModel } from './pin.ts'
import { HubServer } from './testing/hub-server.ts'
import { llamaConfig, safetensorsRepo, starterBytes } from './testing/repos.ts'

const hub = new HubServer()
let http: HubHttp
let options: PinOptions

before(async () => {
  await hub.start()
  http = new HubHttp({ endpoint: hub.url })
  options = { client: new HubClient(http), clock: systemClock, timeoutMs: 20_000, cacheBytesMaximum: 0, bases: [] }
  hub.repos.put('ann/plain', safetensorsRepo())
  hub.repos.put('ann/small', { 'README.md': '#', 'starter-Q8_0.gguf': starterBytes })
  hub.repos.put('ann/gated', safetensorsRepo(), { gated: 'manual' })
  hub.repos.put('ann/private', safetensorsRepo(), { private: true })
  hub.repos.account('hf_granted', 'ann', 'ann/gated', 'ann/private')
  hub.repos.account('hf_other', 'bob')
})
after(async () => {
  await http.close()
  await hub.close()
})
beforeEach(() => {
  hub.asked.length = 0
  hub.hasAuthCheck = true
})

function pin(modelId: string, token: string | null = null, changes: Partial<PinOptions> = {}): Promise<HubSource> {
  const formats = ['safetensors', 'gguf'] as const
  return pinHubModel(modelId, token === null ? null : new Secret(token), formats, { ...options, ...changes })
}

async function faultOf(pinning: Promise<unknown>): Promise<Fault> {
  const thrown = await pinning.then(
    () => null,
    (error: unknown) => error,
  )
  assert.ok(thrown instanceof Fault, `${thrown} is no fault`)
  assert.match(thrown.message, /\.$/)
  return thrown
}

test('safetensors: weights and the small files beside them, at the commit of that moment', async () => {
  const source = await pin('hf:ann/plain')
  assert.equal(source.sha, hub.repos.byId.get('ann/plain')!.refs.get('main'))
  assert.deepEqual(source.files.map(({ path }) => path).sort(), [
    'config.json',
    'generation_config.json',
    'model-00001-of-00002.safetensors',
    'model-00002-of-00002.safetensors',
    'model.safetensors.index.json',
    'tokenizer.json',
    'tokenizer_config.json',
  ])
  const { format, architecture, contextSize, revision, shape } = source
  assert.deepEqual(
    { format, architecture, contextSize, revision },
    { format: 'safetensors', architecture: 'LlamaForCausalLM', contextSize: 131_072, revision: 'main' },
  )
  assert.equal(shape!.layers, llamaConfig.num_hidden_layers)
  assert.ok(source.files.every(({ digest }) => /^(sha256-[0-9a-f]{64}|git-[0-9a-f]{40})$/.test(digest)))
})

test('GGUF: its header is read, not the file', async () => {
  const source = await pin('hf:ann/small')
  assert.equal(source.format, 'gguf')
  assert.equal(source.entry, 'starter-Q8_0.gguf')
  assert.equal(source.quantization, 'Q8_0')
  assert.equal(source.architecture, 'llama')
  assert.equal(source.sizeBytes, starterBytes.length)
})

test('a branch that moves on: what was pinned stays; a commit, a branch and a pull request can be named', async () => {
  const first = hub.repos.put('ann/moves', safetensorsRepo())
  const repo = hub.repos.byId.get('ann/moves')!
  repo.refs.set('refs/pr/1', first)
  const second = hub.repos.put('ann/moves', safetensorsRepo({ num_hidden_layers: 17 }))
  assert.equal((await pin('hf:ann/moves')).sha, second)
  for (const revision of [first, 'refs/pr/1']) assert.equal((await pin(`hf:ann/moves@${revision}`)).sha, first)
})

test('what it was made of, as its card and its files say', async () => {
  const tags = [
    'text-generation',
    'base_model:acme/Base-8B',
    'base_model:quantized:acme/Base-8B',
    'base_model:finetune:x/y',
  ]
  hub.repos.put('ann/derived', safetensorsRepo({ base_model_name_or_path: 'acme/Other' }), { tags })
  assert.deepEqual((await pin('hf:ann/derived')).bases, ['acme/Base-8B', 'x/y', 'acme/Other'])
  const odd = ['base_model:', 'base_model:a/b/c', `base_model:${'x'.repeat(300)}/y`, 7] as string[]
  hub.repos.put('ann/oddly', safetensorsRepo(), { tags: odd })
  assert.equal((await pin('hf:ann/oddly')).bases, undefined)
})

test('a repository that was renamed is found, under its new name', async () => {
  hub.repos.renamed.set('old/plain', 'ann/plain')
  assert.equal((await pin('hf:old/plain')).repo, 'ann/plain')
})

test('the table of what the Hub may say', async () => {
  hub.repos.put('ann/off', safetensorsRepo(), { disabled: true })
  const cases: [modelId: string, token: string | null, code: string, message: RegExp, action: RegExp][] = [
    ['hf:ann/nowhere', null, 'hub_repo_not_found', /can be seen without a token/, /If it is private/],
    ['hf:ann/nowhere', 'hf_granted', 'hub_repo_not_found', /token may see/, /Check the name/],
    ['hf:ann/private', null, 'hub_repo_not_found', /ann\/private/, /hf-token/],
    ['hf:ann/private', 'hf_other', 'hub_repo_not_found', /ann\/private/, /may see it/],
    ['hf:ann/gated', null, 'hub_token_missing', /is gated/, /hf-token/],
    ['hf:ann/gated', 'hf_other', 'hub_access_not_granted', /has no access/, /\/ann\/gated with that account/],
    ['hf:ann/plain', 'hf_wrong', 'hub_token_refused', /does not accept/, /new token/],
    ['hf:ann/plain@gone', null, 'hub_revision_not_found', /"gone"/, /branch/],
    ['hf:ann/plain@0123456789012345678901234567890123456789', null, 'hub_revision_not_found', /012345/, /commit/],
    ['hf:ann/off', null, 'hub_repo_disabled', /disabled/, /another/],
    ['hf:ann/plain/Q4_K_M', null, 'hub_file_not_found', /"Q4_K_M"/, /Choose/],
  ]
  for (const [modelId, token, code, message, action] of cases) {
    const fault = await faultOf(pin(modelId, token))
    assert.equal(fault.code, code, `${modelId} with ${token}: ${fault.message}`)
    assert.equal(fault.status, 422)
    assert.match(fault.message, message)
    assert.match(fault.action, action)
    assert.doesNotMatch(JSON.stringify([fault.message, fault.action, fault.detail]), /hf_(granted|other|wrong)/)
  }
  for (const repo of ['ann/private', 'ann/gated']) assert.equal((await pin(`hf:${repo}`, 'hf_granted')).repo, repo)
})

test('a mirror without the route that tells of access: the files tell', async () => {
  hub.hasAuthCheck = false
  assert.equal((await faultOf(pin('hf:ann/gated'))).code, 'hub_token_missing')
  assert.equal((await faultOf(pin('hf:ann/gated', 'hf_other'))).code, 'hub_access_not_granted')
})

test('what is in the repository', async () => {
  const without = (...names: string[]) =>
    Object.fromEntries(Object.entries(safetensorsRepo()).filter(([name]) => !names.includes(name)))
  const broken = Buffer.from(starterBytes)
  broken.write('GGML')
  const cases: [contents: Record<string, string | Buffer>, code: string, message: RegExp][] = [
    [{ 'README.md': '#' }, 'hub_no_weights', /no weights as safetensors or GGUF\.$/],
    [{ 'config.json': '{}', 'pytorch_model.bin': 'x' }, 'hub_no_weights', /pickled/],
    [{ 'adapter_config.json': '{}', 'adapter_model.safetensors': 'x' }, 'hub_no_weights', /is an adapter/],
    [without('config.json'), 'hub_files_missing', /config\.json/],
    [without('tokenizer.json'), 'hub_files_missing', /tokenizer/],
    [without('model-00002-of-00002.safetensors'), 'hub_files_missing', /1 of the 2 parts/],
    [{ ...safetensorsRepo(), 'config.json': '[' }, 'model_file_unreadable', /no JSON object/],
    [{ ...safetensorsRepo(), 'config.json': '{}' }, 'model_file_unreadable', /names no architecture/],
    [safetensorsRepo({ num_hidden_layers: null }), 'model_file_unreadable', /num_hidden_layers/],
    [safetensorsRepo({ architectures: ['NoSuchForCausalLM'] }), 'model_not_supported', /NoSuchForCausalLM/],
    [{ 'a.gguf': broken }, 'model_file_unreadable', /does not begin with GGUF/],
    [{ 'a.gguf': starterBytes.subarray(0, -100) }, 'model_file_unreadable', /bytes where its header says/],
    [{ 'a-00001-of-00002.gguf': starterBytes }, 'hub_files_missing', /1 of the 2 parts/],
    [{ 'mmproj-a.gguf': starterBytes }, 'hub_no_weights', /no weights/],
  ]
  for (const [contents, code, message] of cases) {
    hub.repos.put('ann/case', contents)
    const fault = await faultOf(pin('hf:ann/case'))
    assert.equal(fault.code, code, fault.message)
    assert.match(fault.message, message)
  }
  hub.repos.put('ann/case', safetensorsRepo({ architectures: ['NoSuchForCausalLM'] }))
  const { detail } = await faultOf(pin('hf:ann/case'))
  assert.ok((detail as { supported_architectures: string[] }).supported_architectures.includes('LlamaForCausalLM'))
})

test('several quantisations: the usual one, or the one that is named', async () => {
  const names = ['m-Q2_K', 'm-Q4_K_M', 'm-Q8_0', 'm-IQ4_XS', 'BF16/m-BF16']
  hub.repos.put('ann/quants', Object.fromEntries(names.map((name) => [`${name}.gguf`, starterBytes])))
  assert.equal((await pin('hf:ann/quants')).entry, 'm-Q4_K_M.gguf')
  assert.match((await pin('hf:ann/quants')).why!, /Q4_K_M, the first in our order of 5/)
  for (const [asked, entry] of [
    ['Q8_0', 'm-Q8_0.gguf'],
    ['q2_k', 'm-Q2_K.gguf'],
    ['BF16', 'BF16/m-BF16.gguf'],
    ['BF16/m-BF16.gguf@main', 'BF16/m-BF16.gguf'],
  ] as const)
    assert.equal((await pin(`hf:ann/quants/${asked}`)).entry, entry)
  const { detail } = await faultOf(pin('hf:ann/quants/Q3_K_S'))
  assert.ok((detail as { quantizations: string[] }).quantizations.includes('Q8_0'))
})

test('names that are none', async () => {
  for (const id of [
    'hf:',
    'hf:gpt2',
    'hf:/x',
    'hf:a/b/../c',
    'hf:a/b@',
    'hf:a/b@@c',
    'hf:a b/c',
    'hf:a/b@x y',
    'hf:a--b/c',
    'hf:a/../b',
    'hf:ä/b',
    `hf:a/${'b'.repeat(200)}`,
    'hf:a/b?x=1',
    'hf:a/b/\u0000',
    'hf:a/b@../../etc',
  ])
    assert.equal((await faultOf(pin(id))).code, 'invalid_request', id)
  assert.equal(hub.asked.length, 0)
})

test('a list in pages, also where a mirror hands on the addresses of the Hub behind it', async () => {
  const files = Object.fromEntries(Array.from({ length: 120 }, (_, n) => [`extra/${n}.txt`, String(n)]))
  hub.repos.put('ann/many', { ...files, ...safetensorsRepo() })
  hub.pageHost = 'https://hub.example'
  assert.equal((await pin('hf:ann/many')).files.length, 7)
  hub.pageHost = null
  assert.equal((await pin('hf:ann/many')).files.length, 7)
})

test('a Hub that cannot be used now says when to come again', async () => {
  hub.limited = { requests: 1, retryAfter: '7' }
  const limited = await faultOf(pin('hf:ann/plain'))
  assert.deepEqual([limited.code, limited.status, limited.retryAfterSeconds], ['hub_rate_limited', 503, 7])
  hub.limited = { requests: 1, retryAfter: null }
  assert.equal((await faultOf(pin('hf:ann/plain'))).retryAfterSeconds, 1)
  hub.broken = 1
  const broken = await faultOf(pin('hf:ann/plain'))
  assert.deepEqual([broken.code, broken.status], ['hub_unreachable', 503])
  assert.ok(broken.retryAfterSeconds! > 0)
  const { promise, resolve } = Promise.withResolvers<void>()
  hub.pause = promise
  assert.match((await faultOf(pin('hf:ann/plain', null, { timeoutMs: 100 }))).message, /within 0.1 s/)
  resolve()
  hub.pause = null
  const nobody = new HubHttp({ endpoint: 'http://127.0.0.1:9' })
  const away = await faultOf(pin('hf:ann/plain', null, { client: new HubClient(nobody) }))
  assert.equal(away.code, 'hub_unreachable')
  await nobody.close()
})

test('larger than the cache may become', async () => {
  const fault = await faultOf(pin('hf:ann/plain', null, { cacheBytesMaximum: 400_000 }))
  assert.equal(fault.code, 'hub_too_large')
  assert.match(fault.message, /500 kB.*400 kB/)
})

test('the token goes to the Hub, and to nobody else', async () => {
  hub.repos.put('ann/gated-gguf', { 'a.gguf': starterBytes }, { gated: 'auto' })
  hub.repos.account('hf_gguf', 'eve', 'ann/gated-gguf')
  await pin('hf:ann/gated-gguf', 'hf_gguf')
  assert.ok(hub.asked.every(({ token }) => token === 'hf_gguf'))
  assert.ok(hub.cdn.times() > 0)
  assert.equal(hub.cdn.leaked, 0)
})
