/** What the fit check is asked for a deployment's engine, on the real drivers. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EngineSpec, EngineType } from '../engines/contract.ts'
import { engineDrivers } from '../engines/registry.ts'
import { loadCatalogue, type NamedModel } from '../models/catalogue.ts'
import { loadHardware } from '../models/hardware.ts'
import { contextToTell, fitsOf, fitWishOf } from './fit.ts'

const catalogue = loadCatalogue({ allowPaths: [], starterStandsIn: false })
const hardware = loadHardware({})
const named = (id: string) => catalogue.named(catalogue.all().find((model) => model.id === id)!)
const driver = (type: EngineType) => engineDrivers.find((one) => one.type === type)!
const w4 = named('llama-3.3-70b-instruct')
const bf16 = named('meta-llama/llama-3.3-70b-instruct')
const gguf: NamedModel = { ...named('paddock/starter') }
const spec = (type: EngineType, ...additionalArgs: string[]): EngineSpec => ({ type, additionalArgs })
const wish = (engine: EngineSpec, model: NamedModel) => fitWishOf(engine, model, driver(engine.type))

test('memory share and cache type, in both forms', () => {
  assert.equal(wish(spec('vllm', '--gpu-memory-utilization', '0.8'), w4).memoryShare, 0.8)
  assert.equal(wish(spec('sglang', '--mem-fraction-static=0.7'), w4).memoryShare, 0.7)
  for (const odd of ['', 'much', '-1', '2'])
    assert.equal(wish(spec('vllm', `--gpu-memory-utilization=${odd}`), w4).memoryShare, 0.9)
  assert.equal(wish(spec('vllm', '--kv-cache-dtype', 'fp8_e4m3'), w4).cacheElementBytes, 1)
  assert.equal(wish(spec('vllm', '--kv-cache-dtype=bfloat16'), w4).cacheElementBytes, null)
  assert.equal(wish(spec('vllm', '--kv-cache-dtype'), w4).cacheElementBytes, null)
})

test('8 bit at load, of weights that are not', () => {
  assert.ok(wish(spec('vllm', '--quantization', 'fp8_per_tensor'), bf16).weightShare < 0.6)
  assert.equal(wish(spec('vllm', '--quantization', 'fp8_per_tensor'), w4).weightShare, 1)
  assert.ok(wish({ ...spec('vllm'), tuning: { eightBit: true } }, bf16).weightShare < 0.6, 'by a preset')
})

test('llama.cpp takes the room of all its sequences', () => {
  const asked = wish({ ...spec('llamacpp'), maxModelLen: 1024, maxNumSeqs: 3 }, gguf)
  assert.deepEqual([asked.contextTokens, asked.sequences], [1024, 3])
  const small = wish(spec('llama-server', '--cache-type-k', 'q8_0', '--cache-type-v', 'q4_0'), gguf)
  assert.equal(small.cacheElementBytes, 34 / 32)
  assert.equal(wish(spec('llama-server', '--cache-type-k', 'q8_0'), gguf).cacheElementBytes, null)
})

test('a model that makes vectors has room for their context beside, in the embedded engine alone', () => {
  const vectors: NamedModel = { ...gguf, shape: { ...gguf.shape!, contextSize: 8192, makesVectors: true } }
  assert.equal(wish(spec('llamacpp'), vectors).besideTokens, 2048)
  assert.equal(wish({ ...spec('llamacpp'), maxModelLen: 512 }, vectors).besideTokens, 512)
  assert.equal(wish(spec('llama-server'), vectors).besideTokens, undefined)
  assert.equal(wish(spec('llamacpp'), gguf).besideTokens, undefined)
})

test('a context that nobody named is told where the whole one has no room', () => {
  const on = (type: string) => [{ gpuType: type, gpuCount: 1, region: null }]
  const told = (engine: EngineSpec, types: string[]) =>
    contextToTell(engine, w4, fitsOf(types.flatMap(on), w4, wish(engine, w4), hardware))
  const h100 = told(spec('vllm'), ['h100'])!
  assert.ok(h100 > 40_000 && h100 < 131_072)
  assert.equal(told(spec('vllm'), ['mi300x']), null)
  assert.equal(told(spec('sglang'), ['mi300x', 'h100']), h100, 'the smallest of its choices')
  assert.equal(told({ ...spec('vllm'), maxModelLen: 8192 }, ['h100']), null)
  assert.equal(told(spec('vllm'), ['cpu']), null)
})

test('without GPUs, or of a model that nobody knows: not checked', () => {
  const cpu = [{ gpuType: 'cpu', gpuCount: 1, region: null }]
  assert.equal(fitsOf(cpu, w4, wish(spec('vllm'), w4), hardware)[0]!.fit, null)
  const unknown = { ...w4, shape: null }
  const h100 = [{ gpuType: 'h100', gpuCount: 1, region: null }]
  assert.equal(fitsOf(h100, unknown, wish(spec('vllm'), unknown), hardware)[0]!.fit, null)
})
