/** Where a model of the catalogue comes from, by what the server has. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Fault } from '../kernel/fault.ts'
import { loadCatalogue, type ModelPolicy } from './catalogue.ts'
import type { ModelEntry } from './entry.ts'
import type { HubSource } from './hub/pin.ts'

const gguf: ModelEntry = { id: 'acme/gguf', source_repo: 'acme/GGUF', context_size: 4096, tensor_type: 'Q4_K_M' }
const pinnedEntry: ModelEntry = { ...gguf, id: 'acme/pinned', revision: 'v2', tensor_type: 'BF16' }
const load = (policy: Partial<ModelPolicy>) =>
  loadCatalogue({ allowPaths: [], starterStandsIn: false, ...policy }, [gguf, pinnedEntry])
const hub = load({ hubFolder: '/hub' })
const l8 = 'meta-llama/llama-3.1-8b-instruct'
const unknown = 'novita/sao10k-l3-8b-stheno-v3.2-awq-fp8'
const source: HubSource = {
  kind: 'hub',
  repo: 'meta-llama/Llama-3.1-8B-Instruct',
  revision: 'main',
  sha: 'a'.repeat(40),
  format: 'safetensors',
  entry: '',
  files: [],
  sizeBytes: 16e9,
  quantization: null,
  architecture: 'LlamaForCausalLM',
  contextSize: 131_072,
  shape: {
    ...hub.all().find(({ id }) => id === l8)!.shape!,
    quantization: null,
    weightBytes: 16e9,
    contextSize: 131_072,
  },
  why: null,
}

function faultOf(work: () => unknown): string {
  try {
    work()
    return 'none'
  } catch (thrown) {
    if (thrown instanceof Fault) return thrown.code
    throw thrown
  }
}

test('with a Hub, a model of the catalogue is pinned under its repository’s name', () => {
  assert.equal(hub.hubName(l8), 'hf:meta-llama/Llama-3.1-8B-Instruct')
  assert.equal(hub.hubName('acme/pinned'), 'hf:acme/GGUF@v2')
  assert.equal(hub.hubName('hf:a/b@c'), 'hf:a/b@c')
  for (const none of [unknown, 'paddock/starter', 'nobody/nothing', '/x.gguf']) assert.equal(hub.hubName(none), null)
  assert.equal(hub.obstacle(hub.all().find(({ id }) => id === l8)!), null)
})

test('without one, or where something else answers, it is not', () => {
  for (const policy of [{}, { hubFolder: '/hub', starterStandsIn: true }, { hubFolder: '/hub', simulated: true }])
    assert.equal(load(policy).hubName(l8), null)
  const bare = load({})
  assert.match(bare.obstacle(bare.all().find(({ id }) => id === l8)!)!, /are not on this server/)
  assert.equal(
    faultOf(() => bare.resolve(l8)),
    'model_not_supported',
  )
  assert.equal(load({ starterStandsIn: true }).resolve(l8).emulated, true)
})

test('pinned: its files, no more context than the catalogue has, and 8 bit as the entry wants it', () => {
  const { files, named, emulated } = hub.resolve(l8, source)
  assert.deepEqual([files.contextSize, files.remote?.sha, emulated], [16_384, source.sha, false])
  assert.deepEqual([named.shape?.weightBytes, named.shape?.contextSize, named.eightBitAtLoad], [16e9, 16_384, true])
})

test('not pinned: only to be looked at', () => {
  assert.equal(
    faultOf(() => hub.resolve(l8)),
    'conflict',
  )
  const { named } = hub.resolve(l8, undefined, { unpinned: true })
  assert.deepEqual([named.format, named.shape?.weightBytes, named.eightBitAtLoad], ['safetensors', 9_080_000_000, true])
  assert.equal(hub.resolve('acme/gguf', undefined, { unpinned: true }).named.format, 'gguf')
  assert.equal(
    faultOf(() => hub.resolve(unknown, undefined, { unpinned: true })),
    'model_not_supported',
  )
})
