/** The fit check on the models of the catalogue and the hardware that ships: what everybody knows of them must come out. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadCatalogue } from '../catalogue.ts'
import { loadHardware } from '../hardware.ts'
import { type Advice, advise, type ConditionName, conditionNames, type Workload } from './advice.ts'
import { cheapestFit, checkFit, usualWish, type Verdict } from './check.ts'
import { gib } from './memory.ts'
import { paceOn } from './pace.ts'
import { type ModelShape, shapeOfConfig, shapeOfGguf } from './shape.ts'

const hardware = loadHardware({ rtx4090: '0.69', h200: '3.99' })
const models = loadCatalogue({ allowPaths: [], starterStandsIn: false })
const shapeOf = (id: string): ModelShape => models.all().find((model) => model.id === id)!.shape!

const w4 = 'llama-3.3-70b-instruct'
const bf16of70 = 'meta-llama/llama-3.3-70b-instruct'
const scout = 'meta-llama/llama-4-scout-17b-16e-instruct'
const v3 = 'deepseek/deepseek-v3-0324'
const l8 = 'meta-llama/llama-3.1-8b-instruct'
const qwen4 = 'qwen/qwen3-4b-fp8'

const known: [id: string, type: string, units: number, verdict: Verdict, why: RegExp][] = [
  [w4, 'h100', 1, 'risky', /whole context of 131072 tokens does not fit; [5-8]\d{4} tokens do/],
  [w4, 'h100', 2, 'fits', /to spare/],
  [w4, 'mi300x', 1, 'fits', /to spare/],
  [w4, 'rtx4090', 1, 'does_not_fit', /Its weights need/],
  [w4, 'rtx4090', 4, 'risky', /whole context/],
  [bf16of70, 'h100', 1, 'does_not_fit', /Its weights need/],
  [bf16of70, 'h100', 2, 'does_not_fit', /Its weights need/],
  [bf16of70, 'h100', 4, 'fits', /to spare/],
  [bf16of70, 'mi325x', 1, 'fits', /to spare/],
  [bf16of70, 'mi300x_8', 1, 'fits', /to spare/],
  [scout, 'h100', 2, 'does_not_fit', /Its weights need/],
  [scout, 'h100', 4, 'risky', /whole context|only/],
  [scout, 'mi300x_8', 1, 'fits', /to spare/],
  [v3, 'h100', 4, 'does_not_fit', /Its weights need/],
  [v3, 'mi300x', 4, 'does_not_fit', /Its weights need/],
  [v3, 'mi300x_8', 1, 'fits', /to spare/],
  [l8, 'h100', 1, 'fits', /to spare/],
  [l8, 'rtx4090', 1, 'fits', /to spare/],
  [qwen4, 'rtx4090', 1, 'risky', /whole context of 128000/],
  ['qwen/qwen3-8b-fp8', 'h100', 1, 'fits', /to spare/],
  ['qwen/qwen3-8b-fp8', 'h100', 4, 'fits', /to spare/],
  ['deepseek/deepseek-r1-0528-qwen3-8b', 'h100', 1, 'fits', /to spare/],
  ['meta-llama/llama-3.2-3b-instruct', 'rtx4090', 1, 'fits', /to spare/],
]
for (const [id, type, units, verdict, why] of known)
  test(`${id} on ${units} × ${type}: ${verdict}`, () => {
    const fit = checkFit(shapeOf(id), hardware.get(type)!, units)
    assert.equal(fit.verdict, verdict, fit.why)
    assert.match(fit.why, why)
  })

test('4B in blocks of 128 cannot be cut in eight', () => {
  assert.match(checkFit(shapeOf(qwen4), hardware.get('mi300x_8')!, 1).why, /blocks of 128, which 8 GPUs would cut/)
})

test('experts in blocks: what is wide enough whole is not when it is shared out', () => {
  const config = {
    architectures: ['Qwen3MoeForCausalLM'],
    ...{ num_hidden_layers: 94, num_attention_heads: 64, num_key_value_heads: 4, head_dim: 128, hidden_size: 4096 },
    ...{ intermediate_size: 12288, moe_intermediate_size: 1536, num_experts: 128, num_experts_per_tok: 8 },
    max_position_embeddings: 40960,
    quantization_config: { quant_method: 'fp8', weight_block_size: [128, 128] },
  }
  const read = shapeOfConfig(config, 236 * 1e9)
  assert.ok(read.ok)
  assert.match(checkFit(read.shape, hardware.get('mi300x_8')!, 1).why, /blocks of 128/)
  assert.equal(checkFit(read.shape, hardware.get('mi300x')!, 4).verdict, 'fits')
})

/** 70B as llama.cpp has it: whole layers go to each GPU, whatever its heads. */
const gguf = (weightGib: number, layers = 80) => {
  const pairs = new Map<string, string | number>([
    ['general.architecture', 'llama'],
    ['llama.block_count', layers],
    ['llama.embedding_length', 8192],
    ['llama.attention.head_count', 64],
    ['llama.attention.head_count_kv', 8],
    ['llama.context_length', 131_072],
  ])
  const read = shapeOfGguf(pairs, weightGib * gib)
  assert.ok(read.ok)
  return read.shape
}
for (const [quant, size, type, units, verdict] of [
  ['Q4_K_M', 39.6, 'h100', 1, 'fits'],
  ['Q4_K_M', 39.6, 'rtx4090', 1, 'does_not_fit'],
  ['Q4_K_M', 39.6, 'rtx4090', 4, 'fits'],
  ['Q8_0', 69.8, 'h100', 1, 'does_not_fit'],
  ['Q8_0', 69.8, 'h100', 2, 'fits'],
  ['F16', 131.4, 'mi300x', 1, 'fits'],
] as const)
  test(`70B as ${quant} on ${units} × ${type}: ${verdict}`, () => {
    const wish = { ...usualWish, contextTokens: 8_192, sequences: 4 }
    const fit = checkFit(gguf(size), hardware.get(type)!, units, wish)
    assert.equal(fit.verdict, verdict, fit.why)
  })

test('a GGUF is shared out by layers', () => {
  const on = (units: number, layers: number) => checkFit(gguf(40, layers), hardware.get('h100')!, units).cachePerToken
  assert.equal(on(1, 80) / 1024, 320)
  assert.equal(on(4, 80) / 1024, 80)
  assert.equal(on(4, 81) / 1024, 84, 'the fullest one counts')
  assert.equal(on(4, 2) / 1024, 4, 'some stay idle')
})

test('the cheapest hardware for each', () => {
  const cheapest = (id: string) => {
    const found = cheapestFit(shapeOf(id), hardware.all())!
    return `${found.units} × ${found.hardware.slug}`
  }
  assert.equal(cheapest(w4), '1 × mi300x')
  assert.equal(cheapest(l8), '1 × rtx4090')
  assert.equal(cheapest(v3), '4 × mi325x')
})

test('a quick estimate is of the right order', () => {
  const h100 = hardware.get('h100')!
  const pace = (id: string, gpus: number) => paceOn(shapeOf(id), h100, gpus, 8_000)!
  const within = (value: number, low: number, high: number) => assert.ok(value > low && value < high, String(value))
  within(pace(l8, 1).msPerToken, 2, 8)
  within(pace(bf16of70, 4).msPerToken, 10, 30)
  within(pace(bf16of70, 1).msPerPrompt, 1_500, 4_000)
  // Of 671B, 37B are at work.
  within(paceOn(shapeOf(v3), hardware.get('mi300x')!, 8, 8_000)!.msPerToken, 0.5, 4)
  assert.equal(paceOn(shapeOf(l8), { gpuBandwidth: null, gpuTeraflops: null }, 1, 1), null)
})

const quiet: Workload = { replicas: 2, concurrency: null, wantsLatency: false }
const cases: [
  what: string,
  id: string,
  type: string,
  units: number,
  load: Partial<Workload>,
  recommend: Advice['recommend'],
  units2: number | null,
  applies: ConditionName[],
][] = [
  ['too large for one', bf16of70, 'h100', 1, {}, 'gpus_per_replica', 4, ['memory_intensive', 'compute_bound']],
  ['only a part of the context', w4, 'h100', 1, {}, 'gpus_per_replica', 2, ['memory_intensive']],
  ['small and well', l8, 'h100', 1, {}, 'replicas', null, ['single_node_scalability', 'multi_node_scalability']],
  ['small, one replica', l8, 'h100', 1, { replicas: 1 }, 'replicas', null, ['fault_tolerance']],
  ['small, many at once', l8, 'h100', 1, { concurrency: 500 }, 'replicas', null, ['request_concurrency']],
  ['small, wanted quick', l8, 'h100', 1, { wantsLatency: true }, 'gpus_per_replica', 2, ['low_latency']],
  ['small, quick already', qwen4, 'mi300x', 1, {}, 'replicas', null, ['io_bound']],
  ['nowhere of this type', v3, 'h100', 4, {}, 'other_hardware', null, ['memory_intensive']],
  ['slow for one stream', bf16of70, 'mi325x', 1, {}, 'gpus_per_replica', 2, ['low_latency', 'single_node_scalability']],
]
for (const [what, id, type, units, load, recommend, more, applies] of cases)
  test(`advice: ${what}`, () => {
    const advice = advise(shapeOf(id), hardware.get(type)!, units, usualWish, { ...quiet, ...load })
    assert.deepEqual(
      advice.conditions.map(({ condition, axis }) => [condition, axis]),
      Object.entries(conditionNames),
    )
    assert.equal(advice.recommend, recommend, JSON.stringify(advice, null, 1))
    assert.equal(advice.units, more)
    const named = advice.conditions.filter((one) => one.applies).map(({ condition }) => condition)
    for (const one of applies) assert.ok(named.includes(one), `${one} of ${named}`)
    assert.ok(
      advice.conditions.every(({ why }) => /[.)]$/.test(why)),
      JSON.stringify(advice.conditions),
    )
    if (recommend !== 'other_hardware') {
      const said = named.filter((name) => conditionNames[name] === recommend)
      assert.ok(said.length > 0 && said.every((name) => advice.why.includes(name.replaceAll('_', ' '))), advice.why)
    }
  })

test('advice: a number of GPUs that it cannot be shared out over', () => {
  const shape = { ...shapeOf(l8), heads: 14, kvHeads: 2 }
  const on = (type: string, units: number, wish = usualWish) =>
    advise(shape, hardware.get(type)!, units, wish, { replicas: 1, concurrency: null, wantsLatency: true })
  const four = on('h100', 4)
  assert.deepEqual([four.recommend, four.units], ['gpus_per_replica', 2])
  assert.match(four.why, /cannot be shared out over 4, and runs on 2 × h100/)
  const applies = (advice: Advice, name: ConditionName) =>
    advice.conditions.find(({ condition }) => condition === name)!.applies
  assert.equal(applies(four, 'memory_intensive'), false, 'it is not for want of memory')
  assert.deepEqual([on('mi300x_8', 1).recommend, on('mi300x_8', 1).units], ['other_hardware', null])
  assert.match(on('mi300x_8', 1).why, /cannot be shared out over the GPUs of one such machine/)
  const tooLong = on('h100', 1, { ...usualWish, contextTokens: 1_000_000 })
  assert.equal(applies(tooLong, 'memory_intensive'), false)
  assert.match(tooLong.why, /does not know so long a context/)
})

test('advice: the prompt that is estimated is no longer than the context', () => {
  const short = { ...shapeOf(l8), contextSize: 2_048 }
  const [compute] = advise(short, hardware.get('h100')!, 1, usualWish, quiet).conditions
  assert.match(compute!.why, /a prompt of 2048 tokens/)
})

test('weights that the engine makes smaller as it loads them', () => {
  const on = (weightShare: number) =>
    checkFit(shapeOf(bf16of70), hardware.get('h100')!, 2, { ...usualWish, weightShare })
  assert.deepEqual([on(1).verdict, on(0.57).verdict], ['does_not_fit', 'risky'])
})
