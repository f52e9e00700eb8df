import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { loadHardware } from '../hardware.ts'
import { canCheck, cheapestFit, checkFit, usualWish } from './check.ts'
import { cachePerSequence, cachePerToken, gib } from './memory.ts'
import { type ModelShape, shapeOfConfig, shapeOfGguf } from './shape.ts'

const hardware = loadHardware({})
const h100 = hardware.get('h100')!

/** Configurations as the models' authors publish them, to what the fit check needs of them. */
const llama8b = {
  architectures: ['LlamaForCausalLM'],
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  hidden_size: 4096,
  intermediate_size: 14336,
  max_position_embeddings: 131072,
  rope_scaling: { rope_type: 'llama3', factor: 8, original_max_position_embeddings: 8192 },
  torch_dtype: 'bfloat16',
}
const llama70b = {
  ...llama8b,
  num_hidden_layers: 80,
  num_attention_heads: 64,
  hidden_size: 8192,
  intermediate_size: 28672,
}
const qwen8b = { ...llama8b, num_hidden_layers: 36, head_dim: 128, max_position_embeddings: 40960, rope_scaling: null }
const deepseek = {
  architectures: ['DeepseekV3ForCausalLM'],
  num_hidden_layers: 61,
  num_attention_heads: 128,
  num_key_value_heads: 128,
  hidden_size: 7168,
  intermediate_size: 18432,
  n_routed_experts: 256,
  kv_lora_rank: 512,
  qk_rope_head_dim: 64,
  max_position_embeddings: 163840,
  torch_dtype: 'bfloat16',
  quantization_config: { quant_method: 'fp8', weight_block_size: [128, 128] },
}
const mixtral = {
  ...llama8b,
  num_local_experts: 8,
  max_position_embeddings: 32768,
  rope_scaling: null,
  sliding_window: null,
}
const w4 = { quant_method: 'compressed-tensors', config_groups: { group_0: { weights: { group_size: 128 } } } }
const awq = { quant_method: 'awq', group_size: 128 }

function read(config: object, weightGib: number): ModelShape {
  const got = shapeOfConfig(config as Record<string, unknown>, weightGib * gib)
  assert.ok(got.ok, got.ok ? '' : got.why)
  return got.shape
}

const one = { gpus: 1, cacheElementBytes: null }

test('cache per token, as published', () => {
  const kib = (config: object, tensor = 1) => cachePerToken(read(config, 1), { ...one, gpus: tensor }) / 1024
  assert.equal(kib(llama8b), 128)
  assert.equal(kib(qwen8b), 144)
  assert.equal(kib(llama70b), 320)
  assert.equal(kib(llama70b, 8), 40)
  assert.equal(kib(llama70b, 16), 40, 'below one head it is kept twice')
  assert.equal(kib(deepseek).toFixed(1), '68.6')
  assert.equal(kib(deepseek, 8).toFixed(1), '68.6', 'latent attention is not shared out')
})

for (const [what, shape, type, units, verdict, why] of [
  ['8B in bf16 on one H100, whole context', read(llama8b, 15), 'h100', 1, 'fits', /to spare/],
  [
    '70B in bf16 on one H100',
    read(llama70b, 131.4),
    'h100',
    1,
    'does_not_fit',
    /weights need 15[0-9]\.\d GiB|weights need 14\d/,
  ],
  ['70B in bf16 on two H100', read(llama70b, 131.4), 'h100', 2, 'does_not_fit', /The longest that fits|weights need/],
  ['70B in bf16 on four H100', read(llama70b, 131.4), 'h100', 4, 'fits', /to spare/],
  [
    '70B in fp8 on two H100',
    read({ ...llama70b, quantization_config: { quant_method: 'fp8' } }, 67.7),
    'h100',
    2,
    'fits',
    /./,
  ],
  [
    '70B in 4 bit on one H100, whole context',
    read({ ...llama70b, quantization_config: w4 }, 37),
    'h100',
    1,
    'risky',
    /whole context of 131072 tokens does not fit; \d+ tokens do/,
  ],
  ['70B in AWQ on one MI300X', read({ ...llama70b, quantization_config: awq }, 37), 'mi300x', 1, 'fits', /./],
  ['Mixtral 8x7B in bf16 on one H100', read(mixtral, 87), 'h100', 1, 'does_not_fit', /weights/],
  ['Mixtral 8x7B in bf16 on two H100', read(mixtral, 87), 'h100', 2, 'fits', /./],
  ['DeepSeek V3 in fp8 on eight MI300X', read(deepseek, 642), 'mi300x_8', 1, 'fits', /./],
  ['DeepSeek V3 in fp8 on four H100', read(deepseek, 642), 'h100', 4, 'does_not_fit', /weights/],
] as const)
  test(what, () => {
    const fit = checkFit(shape, hardware.get(type)!, units)
    assert.equal(fit.verdict, verdict, fit.why)
    assert.match(fit.why, why)
  })

test('4 bit 70B on one H100: the longest context is named, and fits when asked for', () => {
  const shape = read({ ...llama70b, quantization_config: w4 }, 37)
  const { largestContext, context } = checkFit(shape, h100, 1)
  assert.equal(context, largestContext)
  assert.ok(largestContext > 16_384 && largestContext < 131_072, String(largestContext))
  const asked = checkFit(shape, h100, 1, { ...usualWish, contextTokens: largestContext })
  assert.equal(asked.verdict, 'risky', asked.why)
  assert.equal(asked.concurrency, 1)
  assert.equal(checkFit(shape, h100, 1, { ...usualWish, contextTokens: largestContext / 2 }).verdict, 'fits')
  const whole = checkFit(shape, h100, 1, { ...usualWish, contextTokens: 131_072 })
  assert.equal(whole.verdict, 'does_not_fit')
  assert.match(whole.why, new RegExp(`The longest that fits has ${largestContext} tokens`))
  // Half the bytes per element: as much as the model knows.
  assert.equal(checkFit(shape, h100, 1, { ...usualWish, cacheElementBytes: 1 }).largestContext, 131_072)
})

test('what cannot be shared out evenly', () => {
  const odd = read({ ...llama8b, num_attention_heads: 28, num_key_value_heads: 4 }, 15)
  assert.match(checkFit(odd, hardware.get('mi300x_8')!, 1).why, /28 attention heads cannot be shared out over 8/)
  const six = read({ ...llama8b, num_attention_heads: 48, num_key_value_heads: 6 }, 15)
  assert.match(checkFit(six, h100, 4).why, /6 heads of keys and values/)
  const blocks = read({ ...llama8b, intermediate_size: 18_944, quantization_config: awq }, 8)
  assert.match(checkFit(blocks, h100, 8).why, /blocks of 128/)
  assert.equal(checkFit(blocks, h100, 1).verdict, 'fits')
})

test('the cheapest hardware that does', () => {
  const small = cheapestFit(read(llama8b, 15), hardware.all())!
  assert.deepEqual([small.hardware.slug, small.units], ['mi300x', 1])
  const large = cheapestFit(read(deepseek, 642), hardware.all())!
  assert.equal(large.hardware.slug, 'mi325x')
  assert.equal(cheapestFit(read(deepseek, 9_000), hardware.all()), null)
})

test('windows, states, longer ropes, models inside models', () => {
  const windowed = {
    ...llama8b,
    sliding_window: 1024,
    layer_types: [...Array(24).fill('sliding_attention'), ...Array(8).fill('full_attention')],
  }
  const shape = read(windowed, 15)
  assert.deepEqual([shape.window, shape.windowLayers], [1024, 24])
  assert.equal(cachePerSequence(shape, one, 4096), 4096 * (8 * 4096 + 24 * 1024))
  assert.equal(read({ ...windowed, layer_types: undefined, sliding_window_pattern: 6 }, 1).windowLayers, 27)
  assert.equal(read({ ...llama8b, layer_types: Array(32).fill('linear_attention') }, 1).stateLayers, 32)
  const yarn = { type: 'yarn', factor: 4, original_max_position_embeddings: 32768 }
  assert.equal(read({ ...qwen8b, rope_scaling: yarn }, 1).contextSize, 131072)
  assert.equal(read({ ...qwen8b, rope_scaling: { type: 'linear', factor: 2 } }, 1).contextSize, 81920)
  assert.equal(read({ architectures: ['Multi'], text_config: llama8b }, 1).layers, 32)
})

test('a configuration that does not say enough', () => {
  for (const key of ['num_hidden_layers', 'num_attention_heads', 'hidden_size', 'max_position_embeddings'])
    for (const value of [undefined, null, 0, -1, 'many', Number.NaN])
      assert.deepEqual(shapeOfConfig({ ...llama8b, [key]: value }, 1), { ok: false, why: `${key} is missing` })
})

test('a GGUF header', () => {
  const pairs = new Map<string, string | number | Int32Array>([
    ['general.architecture', 'llama'],
    ['llama.block_count', 32],
    ['llama.attention.head_count', 32],
    ['llama.attention.head_count_kv', Int32Array.from(Array(32).fill(8))],
    ['llama.embedding_length', 4096],
    ['llama.feed_forward_length', 14336],
    ['llama.context_length', 131072],
  ])
  const got = shapeOfGguf(pairs, 4.6 * gib)
  assert.ok(got.ok)
  assert.equal(cachePerToken(got.shape, one) / 1024, 128)
  assert.equal(got.shape.makesVectors, undefined)
  for (const [type, makes] of [
    [0, undefined],
    [1, true],
    [3, true],
    [4, undefined],
  ] as const) {
    const read = shapeOfGguf(new Map([...pairs, ['llama.pooling_type', type]]), 1)
    assert.equal(read.ok && read.shape.makesVectors, makes)
  }
  pairs.delete('llama.block_count')
  assert.deepEqual(shapeOfGguf(pairs, 1), { ok: false, why: 'llama.block_count is missing' })
})

const onCpu = (memory: number) => ({ name: 'CPU', gpusPerUnit: 0, vramGib: memory })
const asGguf = (shape: ModelShape): ModelShape => ({ ...shape, quantization: 'gguf' })

test('llama.cpp on a CPU: the machine’s memory, in the same words', () => {
  const small = asGguf(read(llama8b, 4.6))
  const wish = { ...usualWish, contextTokens: 8192, sequences: 4 }
  const on16 = checkFit(small, onCpu(16), 1, wish)
  assert.deepEqual([on16.verdict, on16.gpus, on16.concurrency], ['fits', 0, 9], on16.why)
  assert.match(on16.why, /^It fits with \d\.\d GiB of memory to spare\.$/)
  const on8 = checkFit(small, onCpu(8), 1, wish)
  assert.equal(on8.verdict, 'does_not_fit')
  assert.match(on8.why, /^4 sequences of 8192 tokens would need 4\.0 GiB of memory; \d\.\d GiB is left\. The longest/)
  assert.equal(checkFit(small, onCpu(8), 1, { ...wish, sequences: 1 }).verdict, 'fits')
  assert.match(
    checkFit(small, onCpu(4), 1, wish).why,
    /^Its weights need \d\.\d GiB of memory; the engine may use 3\.6/,
  )
  const tiny = asGguf(read({ ...llama8b, num_hidden_layers: 2, hidden_size: 256 }, 0.003))
  assert.equal(
    checkFit(tiny, onCpu(1), 1, { ...wish, contextTokens: 512 }).verdict,
    'fits',
    'the starter runs anywhere',
  )
  assert.ok(!canCheck(small, onCpu(0)), 'nobody knows the machine')
  assert.ok(!canCheck(read(llama8b, 15), onCpu(64)), 'what is not llama.cpp’s')
})

test('another context beside them takes its part', () => {
  const shape = asGguf(read(llama8b, 4.6))
  const wish = { ...usualWish, contextTokens: 8192, sequences: 4 }
  const [without, beside] = [wish, { ...wish, besideTokens: 2048 }].map((one) => checkFit(shape, onCpu(16), 1, one))
  assert.ok(Math.abs(without!.cacheGib - beside!.cacheGib - 0.25) < 1e-9)
})

test('the cheapest is the CPU where that does', () => {
  const on = (memory: number) => cheapestFit(asGguf(read(llama8b, 4.6)), loadHardware({}, memory).all())!.hardware.slug
  assert.deepEqual([on(64), on(4), on(0)], ['cpu', 'mi300x', 'mi300x'])
})

test('more memory never fits less, and what is promised has room', () => {
  const shapes = [read(llama8b, 15), read(llama70b, 67), read(deepseek, 300), read(mixtral, 87)]
  fc.assert(
    fc.property(
      fc.constantFrom(...shapes),
      fc.constantFrom(1, 2, 4, 8),
      fc.integer({ min: 8, max: 512 }),
      fc.integer({ min: 1, max: 200_000 }),
      (shape, gpus, vramGib, contextTokens) => {
        const wish = { ...usualWish, contextTokens: Math.min(contextTokens, shape.contextSize) }
        const at = (memory: number) => checkFit(shape, { name: 'x', gpusPerUnit: 1, vramGib: memory }, gpus, wish)
        const less = at(vramGib)
        const more = at(vramGib + 8)
        assert.ok(more.largestContext >= less.largestContext && more.concurrency >= less.concurrency)
        if (less.verdict === 'fits') assert.equal(more.verdict, 'fits')
        if (less.verdict === 'does_not_fit') return
        const needed = cachePerSequence(shape, { gpus, cacheElementBytes: null }, wish.contextTokens)
        assert.ok((less.weightsGib + less.overheadGib) * gib + needed <= vramGib * 0.9 * gib + 1)
        assert.ok(less.concurrency >= 1 && less.largestContext >= wish.contextTokens)
      },
    ),
  )
})
