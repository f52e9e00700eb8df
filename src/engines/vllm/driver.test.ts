/** vLLM: launch lines to the letter for every knob and preset, what is refused, and what is read of it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EngineSpec, LaunchHost, ModelFiles } from '../contract.ts'
import type { Tuning } from '../contract.tuning.ts'
import { host, model } from '../launch.fixture.ts'
import { vllm } from './driver.ts'

const spec = (over: Partial<EngineSpec> = {}): EngineSpec => ({ type: 'vllm', additionalArgs: [], ...over })
const launched = (over: Partial<EngineSpec> = {}, at: Partial<LaunchHost> = {}, of: Partial<ModelFiles> = {}) =>
  vllm.launch({
    spec: spec(over),
    model: { ...model, ...of },
    host: { ...host, ...at },
    servedName: 'm',
    apiKey: 'secret',
  })

const always = [
  ...['--api-server-count', '1', '--enable-prompt-tokens-details', '--disable-uvicorn-access-log'],
  ...['--shutdown-timeout', '20'],
]
const before = (tensor: number) => [
  ...['vllm', 'serve', '/placed/m', '--served-model-name', 'm', '--host', '127.0.0.1', '--port', '4242'],
  ...['--tensor-parallel-size', String(tensor), ...always],
]
const guessing = '{"method":"ngram","num_speculative_tokens":4,"prompt_lookup_max":4}'

test('the launch line: no key in it, nothing fetched, nothing reported', () => {
  const launch = launched()
  assert.deepEqual(launch.argv, before(1))
  const env = { VLLM_API_KEY: 'secret', HF_HUB_OFFLINE: '1', VLLM_NO_USAGE_STATS: '1', DO_NOT_TRACK: '1' }
  assert.deepEqual(launch.env, env)
  assert.deepEqual([launch.image, launch.stopGraceSeconds], ['vllm/vllm-openai:v0.33.0', 30])
})

const room = { rankMaximum: 32, count: 16 }
const lora = ['--enable-lora', '--max-loras', '8', '--max-cpu-loras', '16', '--max-lora-rank', '32']
const knobs: [what: string, spec: Partial<EngineSpec>, added: string[]][] = [
  ['context', { maxModelLen: 32_768 }, ['--max-model-len', '32768']],
  ['sequences', { maxNumSeqs: 64 }, ['--max-num-seqs', '64']],
  ['added', { additionalArgs: ['--enforce-eager', '--seed', '7'] }, ['--enforce-eager', '--seed', '7']],
  ['adapters', { adapterRoom: room }, lora],
  [
    'few adapters',
    { adapterRoom: { rankMaximum: 16, count: 4 } },
    ['--enable-lora', '--max-loras', '4', '--max-cpu-loras', '4', '--max-lora-rank', '16'],
  ],
  ['version', { version: '0.18.0' }, []],
]
for (const [what, over, added] of knobs)
  test(`the launch line with ${what}`, () => assert.deepEqual(launched(over).argv, [...before(1), ...added]))

test('what is known of how a model writes calls and thoughts', () => {
  const forms = { toolCalls: 'llama3', thoughts: 'deepseek_r1' } as const
  assert.deepEqual(launched({}, {}, { forms }).argv, [
    ...before(1),
    ...['--enable-auto-tool-choice', '--tool-call-parser', 'llama3_json', '--reasoning-parser', 'deepseek_r1'],
  ])
})

const few = ['--max-num-seqs', '16', '--performance-mode', 'interactivity']
const presets: [
  what: string,
  Tuning,
  string[],
  spec?: Partial<EngineSpec>,
  at?: Partial<LaunchHost>,
  of?: Partial<ModelFiles>,
][] = [
  ['speed', { batch: 'many' }, ['--performance-mode', 'throughput']],
  ['latency', { batch: 'few', guess: true }, [...few, '--speculative-config', guessing]],
  [
    'latency with adapters',
    { batch: 'few', guess: true },
    ['--max-num-seqs', '16', ...lora, ...few.slice(2)],
    { adapterRoom: room },
  ],
  ['latency and 64 sequences', { batch: 'few' }, ['--max-num-seqs', '64', ...few.slice(2)], { maxNumSeqs: 64 }],
  [
    'latency and an own mode',
    { batch: 'few' },
    ['--max-num-seqs', '16', '--performance-mode', 'balanced'],
    { additionalArgs: ['--performance-mode', 'balanced'] },
  ],
  ['cost', { eightBit: true }, ['--quantization', 'fp8_per_tensor', '--kv-cache-dtype', 'fp8']],
  [
    'cost on AMD',
    { eightBit: true },
    ['--quantization', 'fp8_per_tensor', '--kv-cache-dtype', 'fp8'],
    {},
    { gpuVendor: 'amd' },
  ],
  ['cost before 0.24', { eightBit: true }, ['--quantization', 'fp8', '--kv-cache-dtype', 'fp8'], { version: '0.23.0' }],
  ['cost of weights in 4 bits', { eightBit: true }, [], {}, {}, { quantization: 'awq' }],
  [
    'cost and an own cache',
    { eightBit: true },
    ['--quantization', 'fp8_per_tensor', '--kv-cache-dtype', 'fp8_e5m2'],
    { additionalArgs: ['--kv-cache-dtype', 'fp8_e5m2'] },
  ],
  ['balanced', {}, []],
]
for (const [what, tuning, added, over, at, of] of presets)
  test(`the launch line of ${what}`, () => {
    assert.deepEqual(launched({ tuning, ...over }, at, of).argv, [...before(1), ...added])
  })

test('as many parts as it has GPUs; the image is that of the hardware and the version', () => {
  const gpuIds = ['0', '1', '2', '3']
  assert.deepEqual(launched({}, { gpuIds }).argv, before(4))
  assert.deepEqual(launched({ tuning: { eightBit: true } }, { gpuIds: [] }).argv, before(1), 'no 8 bits on a CPU')
  assert.equal(launched({}, { gpuVendor: 'amd' }).image, 'vllm/vllm-openai-rocm:v0.33.0')
  assert.equal(launched({ version: '0.27.1' }, { gpuIds: [] }).image, 'vllm/vllm-openai-cpu:v0.27.1-x86_64')
})

test('with room for adapters they may be loaded while it runs', () => {
  assert.equal(launched({ adapterRoom: room }).env.VLLM_ALLOW_RUNTIME_LORA_UPDATING, 'True')
})

test('what a preset leaves out is said', () => {
  const ground = { adapters: true, quantization: 'w4a16', gpu: 'nvidia' as const }
  const { left } = vllm.tune!({ batch: 'few', guess: true, eightBit: true }, ground)
  assert.match(left[0]!, /^Guessing ahead is left out: vLLM does not do it together with LoRA adapters\.$/)
  assert.match(left[1]!, /stored as w4a16 already/)
  assert.match(vllm.tune!({ eightBit: true }, { ...ground, quantization: null, gpu: null }).left[0]!, /on GPUs only/)
})

test('limits: what is asked, else the model’s own and what is certain', () => {
  assert.deepEqual(vllm.limits(spec(), model), { contextTokens: 131_072, sequences: 256 })
  assert.deepEqual(vllm.limits(spec({ tuning: { batch: 'few' } }), model).sequences, 16)
  assert.deepEqual(vllm.limits(spec({ maxModelLen: 99, maxNumSeqs: 3, tuning: { batch: 'few' } }), model), {
    contextTokens: 99,
    sequences: 3,
  })
})

const refused: [Partial<EngineSpec>, RegExp | null][] = [
  [{}, null],
  [{ version: '0.27.1' }, null],
  [{ version: '0.17.1' }, /vLLM is known from 0\.18\.0 to 0\.33\.0; seen: "0\.17\.1"/],
  [{ version: 'latest' }, /seen: "latest"/],
  [{ version: '0.27.1; rm' }, /seen/],
  [{ maxModelLen: 200_000 }, /max_model_len must be 64 to 131072/],
  [{ maxNumSeqs: 0 }, /max_num_seqs must be 1 to 4096/],
  [{ additionalArgs: ['--speculative-config', guessing], adapterRoom: room }, /does not go together with LoRA/],
]
for (const [over, says] of refused)
  test(`a spec with ${JSON.stringify(over)}`, () => {
    const problems = vllm.validate(spec(over), model)
    if (says === null) assert.deepEqual(problems, [])
    else assert.match(problems.join(' '), says)
  })

test('GGUF files are not its own', () => {
  assert.match(vllm.validate(spec(), { format: 'gguf', contextSize: 1 })[0]!, /GGUF files run on llama\.cpp/)
})

test('readiness: refused, ready, dead; the phase of its start from its output', () => {
  assert.deepEqual(vllm.readiness(null, ''), { state: 'not_ready', phase: 'load', detail: 'not listening yet' })
  assert.deepEqual(vllm.readiness(200, ''), { state: 'ready' })
  assert.equal(vllm.readiness(503, '').state, 'broken')
  const lines = [
    'INFO 11-21 10:00:01 [core.py:122] Initializing a V1 LLM engine (v0.27.1) with config: model=m',
    'INFO 11-21 10:00:09 [gpu_model_runner.py:5309] Starting to load model m...',
    'INFO 11-21 10:00:19 [default_loader.py:431] Loading weights took 9.80 seconds',
    'INFO 11-21 10:00:19 [gpu_model_runner.py:5406] Model loading took 14.9 GiB memory and 10.100000 seconds',
    'Capturing CUDA graphs (mixed prefill-decode, PIECEWISE): 100%|####| 67/67',
  ]
  const phases = lines.map((_, at) => vllm.phaseOfLog!(lines.slice(0, at + 1)))
  assert.deepEqual(phases, ['load', 'load', 'load', 'warmup', 'warmup'])
  assert.equal(vllm.phaseOfLog!([]), null)
})

test('metrics: engines behind one port add up, the fullest cache counts', () => {
  const text = [
    '# HELP vllm:num_requests_running Number of requests in model execution batches.',
    '# TYPE vllm:num_requests_running gauge',
    'vllm:num_requests_running{engine="0",model_name="m"} 3.0',
    'vllm:num_requests_running{engine="1",model_name="m"} 2.0',
    'vllm:num_requests_waiting{engine="0",model_name="a, b} c"} 1.0',
    'vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 9.0',
    'vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25',
    'vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.5',
    'vllm:prompt_tokens_total{engine="0",model_name="m"} 1.5e+06',
    'vllm:prompt_tokens_created{engine="0",model_name="m"} 1.7e+09',
    'vllm:generation_tokens_total{engine="0",model_name="m"} NaN',
    '',
  ].join('\n')
  assert.deepEqual(vllm.metrics(text), { running: 5, waiting: 1, kvUsage: 0.5, promptTokensTotal: 1_500_000 })
})

test('adapters: room in steps, the requests to the letter, answers, names', () => {
  const { adapters } = vllm
  const one = { engineName: 'a-1', path: '/l/a', rank: 8 }
  assert.equal(adapters!.room(null, []), null)
  assert.deepEqual(adapters!.room(null, [one]), { rankMaximum: 16, count: 4 })
  assert.deepEqual(adapters!.room({ rankMaximum: 64, count: 4 }, [one]), { rankMaximum: 64, count: 4 })
  const five = Array.from({ length: 5 }, () => ({ ...one, rank: 200 }))
  assert.deepEqual(adapters!.room({ rankMaximum: 64, count: 4 }, five), { rankMaximum: 256, count: 8 })
  assert.deepEqual(adapters!.load(one), {
    method: 'POST',
    path: '/v1/load_lora_adapter',
    body: { lora_name: 'a-1', lora_path: '/l/a' },
  })
  assert.deepEqual(adapters!.unload('a-1'), {
    method: 'POST',
    path: '/v1/unload_lora_adapter',
    body: { lora_name: 'a-1' },
  })
  assert.deepEqual(adapters!.ask([{ handle: 'a-1', scale: 1 }], 'm'), { model: 'a-1', members: {} })
  const cards = '{"object":"list","data":[{"id":"m"},{"id":"a-1","parent":"m"},null]}'
  assert.deepEqual([...adapters!.listed([one, { ...one, engineName: 'b' }], 200, cards)!], [['a-1', 'a-1']])
  for (const nothing of ['', '[]', '{"data":7}']) assert.equal(adapters!.listed([one], 200, nothing), null)
  assert.equal(adapters!.listed([one], 503, cards), null)
})

const said = (message: string, code: number) => JSON.stringify({ error: { message, type: 'x', param: null, code } })
const outcomes: [status: number | null, body: string, done: true | string, again?: boolean][] = [
  [200, "Success: LoRA adapter 'a' added successfully.", true],
  [400, said("The lora adapter 'a' has already been loaded. If you want to load it in place, …", 400), true],
  [404, said("The lora adapter 'a' cannot be found.", 404), true],
  [404, said("No adapter found for '/loras/a'", 404), "No adapter found for '/loras/a'", false],
  [
    500,
    said('LoRA rank 64 is greater than max_lora_rank 16.', 500),
    'LoRA rank 64 is greater than max_lora_rank 16.',
    false,
  ],
  [404, '{"detail":"Not Found"}', 'The engine answered with status 404.', false],
  [401, '{"error":"Unauthorized"}', 'Unauthorized', false],
  [503, 'upstream gone\n', 'upstream gone', true],
  [null, '', 'The engine did not answer.', true],
]
for (const [status, body, done, again] of outcomes)
  test(`adapters: ${status} ${body.slice(0, 60)}`, () => {
    const want = done === true ? { done } : { done: false, why: done, again }
    assert.deepEqual(vllm.adapters!.outcome('load', status, body), want)
  })
