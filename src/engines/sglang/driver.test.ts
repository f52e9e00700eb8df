/** SGLang: launch lines to the letter for every knob and preset, what is refused, and what is read of it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EngineSpec, LaunchHost, ModelFiles } from '../contract.ts'
import type { Tuning } from '../contract.tuning.ts'
import { host, model } from '../launch.fixture.ts'
import { sglang } from './driver.ts'

const spec = (over: Partial<EngineSpec> = {}): EngineSpec => ({ type: 'sglang', additionalArgs: [], ...over })
const launched = (over: Partial<EngineSpec> = {}, at: Partial<LaunchHost> = {}, of: Partial<ModelFiles> = {}) =>
  sglang.launch({
    spec: spec(over),
    model: { ...model, ...of },
    host: { ...host, ...at },
    servedName: 'm',
    apiKey: 'sec"ret',
  })

const before = (tensor: number) => [
  ...['sglang', 'serve', '--model-path', '/placed/m', '--served-model-name', 'm', '--config', 'sglang.yaml'],
  ...[
    '--host',
    '127.0.0.1',
    '--port',
    '4242',
    '--tp-size',
    String(tensor),
    '--enable-metrics',
    '--enable-cache-report',
  ],
]

test('the launch line: its key in a file of its own, nothing fetched, health answers at once', () => {
  const launch = launched()
  assert.deepEqual(launch.argv, before(1))
  assert.deepEqual(launch.files, { 'sglang.yaml': 'api-key: "sec\\"ret"\n' })
  const env = { HF_HUB_OFFLINE: '1', SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION: '0', DO_NOT_TRACK: '1' }
  assert.deepEqual(launch.env, env)
  assert.deepEqual([launch.image, launch.stopGraceSeconds], ['lmsysorg/sglang:v0.5.23', 30])
})

const room = { rankMaximum: 32, count: 16 }
const lora = [
  ...['--enable-lora', '--max-loras-per-batch', '9', '--max-loaded-loras', '16', '--max-lora-rank', '32'],
  ...['--lora-target-modules', 'all'],
]
const knobs: [what: string, spec: Partial<EngineSpec>, added: string[]][] = [
  ['context', { maxModelLen: 32_768 }, ['--context-length', '32768']],
  ['sequences', { maxNumSeqs: 64 }, ['--max-running-requests', '64']],
  ['added', { additionalArgs: ['--disable-radix-cache'] }, ['--disable-radix-cache']],
  ['adapters', { adapterRoom: room }, lora],
]
for (const [what, over, added] of knobs)
  test(`the launch line with ${what}`, () => assert.deepEqual(launched(over).argv, [...before(1), ...added]))

test('what is known of how a model writes calls and thoughts', () => {
  const forms = { toolCalls: 'llama3', thoughts: 'deepseek_r1' } as const
  assert.deepEqual(launched({}, {}, { forms }).argv, [
    ...before(1),
    ...['--tool-call-parser', 'llama3', '--reasoning-parser', 'deepseek-r1'],
  ])
})

const few = ['--max-running-requests', '16']
const presets: [
  what: string,
  Tuning,
  string[],
  spec?: Partial<EngineSpec>,
  at?: Partial<LaunchHost>,
  of?: Partial<ModelFiles>,
][] = [
  ['speed', { batch: 'many' }, ['--chunked-prefill-size', '16384', '--schedule-policy', 'lpm']],
  ['latency', { batch: 'few', guess: true }, [...few, '--speculative-algorithm', 'NGRAM']],
  [
    'latency with adapters',
    { batch: 'few', guess: true },
    [...few, ...lora, '--speculative-algorithm', 'NGRAM'],
    { adapterRoom: room },
  ],
  ['latency on AMD', { batch: 'few', guess: true }, few, {}, { gpuVendor: 'amd' }],
  ['cost', { eightBit: true }, ['--quantization', 'fp8', '--kv-cache-dtype', 'fp8_e4m3']],
  ['cost of weights in 8 bits', { eightBit: true }, [], {}, {}, { quantization: 'fp8' }],
  ['balanced', {}, []],
]
for (const [what, tuning, added, over, at, of] of presets)
  test(`the launch line of ${what}`, () => {
    assert.deepEqual(launched({ tuning, ...over }, at, of).argv, [...before(1), ...added])
  })

test('as many parts as it has GPUs; the image is that of the hardware and the version', () => {
  assert.deepEqual(launched({}, { gpuIds: ['0', '1'] }).argv, before(2))
  assert.equal(
    launched({ version: '0.5.15.post1' }, { gpuVendor: 'amd' }).image,
    'lmsysorg/sglang:v0.5.15.post1-rocm720-mi30x',
  )
})

test('what a preset leaves out is said', () => {
  const ground = { adapters: true, quantization: null, gpu: null }
  const { left } = sglang.tune!({ guess: true, eightBit: true }, ground)
  assert.match(left[0]!, /NVIDIA GPUs only/)
  assert.match(left[1]!, /on GPUs only/)
  assert.deepEqual(sglang.tune!({ guess: true }, { ...ground, gpu: 'nvidia' }).left, [])
})

const refused: [Partial<EngineSpec>, RegExp | null][] = [
  [{}, null],
  [{ version: '0.5.15.post1' }, null],
  [{ version: '0.4.10' }, /SGLang is known from 0\.5\.9 to 0\.5\.23/],
  [{ maxModelLen: 1 }, /max_model_len must be 64 to 131072/],
  [{ additionalArgs: ['--cuda-graph-max-bs', '16'], version: '0.5.16' }, null],
  [{ additionalArgs: ['--cuda-graph-max-bs', '16'] }, /went with SGLang 0\.5\.23; this is 0\.5\.23/],
  [{ additionalArgs: ['--speculative-algorithm', 'NEXTN'] }, null],
  [{ additionalArgs: ['--speculative-algorithm', 'NEXTN', '--speculative-num-steps', '3'] }, /takes all of/],
  [{ additionalArgs: ['--speculative-algorithm', 'NEXTN'], adapterRoom: room }, /by NGRAM only/],
  [{ additionalArgs: ['--speculative-algorithm', 'NGRAM'], adapterRoom: room }, null],
]
for (const [over, says] of refused)
  test(`a spec with ${JSON.stringify(over)}`, () => {
    const problems = sglang.validate(spec(over), model)
    if (says === null) assert.deepEqual(problems, [])
    else assert.match(problems.join(' '), says)
  })

test('GGUF files are not its own', () => {
  assert.match(sglang.validate(spec(), { format: 'gguf', contextSize: 1 })[0]!, /GGUF files run on llama\.cpp/)
})

test('readiness: refused, warming up, ready; the phase of its start from its output', () => {
  assert.deepEqual(sglang.readiness(null, ''), { state: 'not_ready', phase: 'load', detail: 'not listening yet' })
  assert.deepEqual(sglang.readiness(503, ''), { state: 'not_ready', phase: 'warmup', detail: 'warming up' })
  assert.deepEqual(sglang.readiness(200, ''), { state: 'ready' })
  assert.equal(sglang.readiness(500, '').state, 'broken')
  const lines = [
    '[2026-11-21 10:00:01] server_args=ServerArgs(model_path=m)',
    '[2026-11-21 10:00:05] Load weight begin. avail mem=78.58 GB',
    '[2026-11-21 10:00:15] Load weight end. elapsed=10.1 s, type=LlamaForCausalLM, avail mem=63.4 GB',
    '[2026-11-21 10:00:17] Capture cuda graph begin. This can take up to several minutes. avail mem=8.1 GB',
  ]
  const phases = lines.map((_, at) => sglang.phaseOfLog!(lines.slice(0, at + 1)))
  assert.deepEqual(phases, ['load', 'load', 'warmup', 'warmup'])
  assert.equal(sglang.phaseOfLog!(['Capture draft decode CUDA graph begin. backend=fa3']), 'warmup')
  assert.equal(sglang.phaseOfLog!([]), null)
})

test('metrics: ranks that repeat the first are passed over, engines add up', () => {
  const of = (rank: number, dp: number) =>
    `{engine_type="unified",model_name="m",tp_rank="${rank}",pp_rank="0",dp_rank="${dp}"}`
  const text = [
    `sglang:num_running_reqs${of(0, 0)} 3.0`,
    `sglang:num_running_reqs${of(1, 0)} 3.0`,
    `sglang:num_running_reqs${of(0, 1)} 1.0`,
    `sglang:num_queue_reqs${of(0, 0)} 2.0`,
    `sglang:token_usage${of(0, 0)} 0.75`,
    'sglang:prompt_tokens_total{is_streaming="true",model_name="m"} 10.0',
    'sglang:prompt_tokens_total{is_streaming="false",model_name="m"} 5.0',
    'sglang:generation_tokens_total{model_name="m"} 7.0',
  ].join('\n')
  const sample = { running: 4, waiting: 2, kvUsage: 0.75, promptTokensTotal: 15, generatedTokensTotal: 7 }
  assert.deepEqual(sglang.metrics(text), sample)
})

test('adapters: the requests to the letter, and the name with the model’s', () => {
  const one = { engineName: 'a-1', path: '/l/a', rank: 8 }
  const body = { lora_name: 'a-1', lora_path: '/l/a' }
  assert.deepEqual(sglang.adapters!.load(one), { method: 'POST', path: '/load_lora_adapter', body })
  assert.deepEqual(sglang.adapters!.unload('a-1')?.path, '/unload_lora_adapter')
  assert.deepEqual(sglang.adapters!.ask([{ handle: 'a-1', scale: 1 }], 'hf/m'), { model: 'hf/m:a-1', members: {} })
  assert.deepEqual(sglang.adapters!.room(null, [{ ...one, rank: 17 }]), { rankMaximum: 32, count: 4 })
})

const said = (error_message: string) => JSON.stringify({ success: false, error_message, loaded_adapters: {} })
const outcomes: [status: number | null, body: string, done: true | string, again?: boolean][] = [
  [200, '{"success":true,"error_message":null,"loaded_adapters":{"a":"/loras/a"}}', true],
  [400, said('Failed to load LoRA adapter a because it is already loaded'), true],
  [400, said('LoRA with name a does not exist. Loaded LoRAs: dict_keys([])'), true],
  [400, said('/loras/a does not exist'), '/loras/a does not exist', false],
  [
    400,
    said("LoRA adapter 'a' has an incomplete unload. Retry"),
    "LoRA adapter 'a' has an incomplete unload. Retry",
    true,
  ],
  [400, '', 'The engine answered with status 400.', false],
  [null, '', 'The engine did not answer.', true],
]
for (const [status, body, done, again] of outcomes)
  test(`adapters: ${status} ${body.slice(0, 70)}`, () => {
    const want = done === true ? { done } : { done: false, why: done, again }
    assert.deepEqual(sglang.adapters!.outcome('load', status, body), want)
  })
