/** What presets set of each engine, on their hardware and in the way of adapters, weights and wishes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EngineDriver, EngineSpec } from '../engines/contract.ts'
import { embedded } from '../engines/llamacpp/embedded.ts'
import { llamaServer } from '../engines/llamacpp/server.ts'
import { sglang } from '../engines/sglang/driver.ts'
import { vllm } from '../engines/vllm/driver.ts'
import { loadHardware } from '../models/hardware.ts'
import { engineSettings, vendorOf } from './engine-settings.ts'
import { type PresetName, presetOn, presets } from './presets.ts'

const hardware = loadHardware({})
const ngram = '{"method":"ngram","num_speculative_tokens":4,"prompt_lookup_max":4}'

const table: [EngineDriver, PresetName, args: string, sequences: number | null][] = [
  [vllm, 'speed', '--performance-mode throughput', null],
  [vllm, 'latency', `--performance-mode interactivity --speculative-config ${ngram}`, 16],
  [vllm, 'cost', '--quantization fp8_per_tensor --kv-cache-dtype fp8', null],
  [vllm, 'balanced', '', null],
  [sglang, 'speed', '--chunked-prefill-size 16384 --schedule-policy lpm', null],
  [sglang, 'latency', '--speculative-algorithm NGRAM', 16],
  [sglang, 'cost', '--quantization fp8 --kv-cache-dtype fp8_e4m3', null],
  [sglang, 'balanced', '', null],
  [llamaServer, 'speed', '--batch-size 4096 --ubatch-size 1024', 8],
  [llamaServer, 'latency', '--spec-type ngram-mod', 2],
  [llamaServer, 'cost', '--cache-type-k q8_0 --cache-type-v q8_0 --flash-attn on', null],
  [llamaServer, 'balanced', '', null],
  [embedded, 'speed', '', 8],
  [embedded, 'latency', '', 2],
  [embedded, 'cost', '--cache-type-k q8_0 --cache-type-v q8_0', null],
]
for (const [driver, name, args, sequences] of table)
  test(`${name} on ${driver.type}`, () => {
    const settings = presetOn(name, driver, hardware)
    assert.deepEqual([settings.args.join(' '), settings.sequences], [args, sequences])
  })

const engine = (over: Partial<EngineSpec>): EngineSpec => ({ type: 'vllm', additionalArgs: [], ...over })
const h100 = hardware.get('h100')

test('adapters, weights and hardware go before the preset, and that is said', () => {
  const room = { rankMaximum: 16, count: 4 }
  const latency = engineSettings(engine({ tuning: presets.latency.tuning, adapterRoom: room }), vllm, null, h100)
  assert.deepEqual(latency.args, ['--performance-mode', 'interactivity'])
  assert.match(latency.left[0]!, /together with LoRA adapters/)
  const stored = engineSettings(engine({ tuning: presets.cost.tuning }), vllm, 'w4a16', h100)
  assert.deepEqual([stored.args, stored.left.length], [[], 1])
  const cpu = engineSettings(engine({ tuning: presets.cost.tuning }), vllm, null, hardware.get('cpu'))
  assert.match(cpu.left[0]!, /on GPUs only/)
  const amd = engineSettings(engine({ tuning: presets.latency.tuning }), sglang, null, hardware.get('mi325x_8'))
  assert.match(amd.left[0]!, /NVIDIA GPUs only/)
})

test('what a person named goes before the preset', () => {
  const own = engine({
    tuning: presets.latency.tuning,
    maxNumSeqs: 4,
    additionalArgs: ['--performance-mode', 'balanced'],
  })
  const { args, sequences } = engineSettings(own, vllm, null, h100)
  assert.deepEqual([args, sequences], [['--speculative-config', ngram], null])
})

test('without a preset, or with an engine that has no words for one: nothing', () => {
  const none = { args: [], sequences: null, left: [] }
  assert.deepEqual(engineSettings(engine({}), vllm, null, h100), none)
  assert.deepEqual(engineSettings(engine({ tuning: { batch: 'many' } }), undefined, null, h100), none)
})

test('whose GPUs they are', () => {
  const vendors = hardware.all().map((type) => [type.slug, vendorOf(type)])
  assert.deepEqual(Object.fromEntries(vendors), {
    cpu: null,
    h100: 'nvidia',
    mi300x: 'amd',
    mi300x_8: 'amd',
    mi325x: 'amd',
    mi325x_8: 'amd',
    h200: 'nvidia',
    rtx4090: 'nvidia',
  })
})
