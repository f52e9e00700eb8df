import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Prediction } from '../wire/native/prediction.ts'
import { predictionLines } from './prediction-text.ts'

const fit = {
  verdict: 'risky' as const,
  why: 'Its whole context of 131072 tokens does not fit; 70000 tokens do.',
  gpus: 1,
  weights_gib: 37.1,
  overhead_gib: 13.5,
  cache_gib: 21.4,
  cache_bytes_per_token: 327_680,
  context: 70_000,
  largest_context: 70_000,
  concurrency: 1,
}
const hardware = { gpu_type: 'h100', gpu_count: 1, region: null, hourly_cost_usd: 4.41, skipped: null }
const mi300x = { gpu_type: 'mi300x', gpu_count: 1, hourly_cost_usd: 2.59, fit: { ...fit, verdict: 'fits' as const } }
const predicted: Prediction = {
  dry_run: true,
  would_create: true,
  refusals: [],
  name: 'fit',
  model_id: 'llama',
  preset: null,
  replicas: 1,
  engine: {
    type: 'vllm',
    version: null,
    max_model_len: 70_000,
    max_num_seqs: null,
    additional_args: [],
    why: 'vllm, because.',
    preset_sets: [],
    preset_sequences: null,
    preset_leaves_out: [],
  },
  scaling: {
    autoscaling_enabled: true,
    policy: 'steps',
    min_replicas: 1,
    max_replicas: 2,
    scale_to_zero: false,
    idle_timeout_seconds: 300,
    cooldown_seconds: 300,
  },
  hardware: [{ ...hardware, fit }],
  fit,
  cheapest: mi300x,
  runs_on: [mi300x],
  price: {
    hourly_cost_usd: 4.41,
    hourly_cost_max_usd: 8.82,
    daily_cost_usd: 105.84,
    monthly_cost_usd: 3219.3,
    asleep_cost_usd: 0,
  },
  advice: {
    recommend: 'gpus_per_replica',
    why: 'More GPUs per replica: memory intensive.',
    gpu_count: 2,
    conditions: [
      { condition: 'memory_intensive', axis: 'gpus_per_replica', applies: true, why: 'Room for 1 at once.' },
      { condition: 'io_bound', axis: 'replicas', applies: false, why: 'No.' },
    ],
  },
  emulated: false,
  simulated: false,
  served_by: null,
}
const lines = (change: Partial<Prediction> = {}) => predictionLines({ ...predicted, ...change }, { columns: 200 })

test('the whole of it', () => {
  assert.deepEqual(lines(), [
    'llama on 1 × h100: risky. Its whole context of 131072 tokens does not fit; 70000 tokens do.',
    '  Memory    37.1 GiB weights, 13.5 GiB engine, 21.4 GiB for context, on the GPU',
    '  Context   70000 tokens, 1 at once; the longest that fits has 70000',
    '  Engine    vllm, because.',
    '  Price     $4.41/hour, $105.84/day, $3219.30/month, at most $8.82/hour; asleep nothing',
    '  Cheapest  1 × mi300x, $2.59/hour',
    '  Advice    More GPUs per replica: memory intensive.',
    '            memory intensive: Room for 1 at once.',
    '',
    'GPU     COUNT  $/HOUR  VERDICT  CONTEXT  AT ONCE',
    'mi300x      1   $2.59  fits       70000        1',
  ])
})

test('what a preset sets of the engine, and what it leaves out', () => {
  const engine = { ...predicted.engine, preset_sets: ['--max-num-seqs', '16'], preset_leaves_out: ['No guessing.'] }
  const text = lines({ preset: 'latency', engine }).join('\n')
  assert.match(text, /^ {2}Preset {4}latency sets --max-num-seqs 16\n {12}No guessing\.$/m)
})

test('nothing known, nothing that does, and what a create would be refused for', () => {
  const text = lines({
    hardware: [{ ...hardware, gpu_type: 'cpu', fit: null, skipped: 'Too dear.' }],
    fit: null,
    cheapest: null,
    runs_on: [],
    advice: null,
    served_by: 'paddock/starter',
    refusals: [
      {
        code: 'adapter_mismatch',
        message: 'LoRA adapter does not match base model',
        action: '',
        detail: { reason: 'It changes "blk.9".' },
      },
      { code: 'quota_exceeded', message: 'Too many.', action: '' },
    ],
  }).join('\n')
  assert.match(text, /^llama on 1 × cpu: memory is not checked\.\n {2}Too dear\.\n {2}Engine/)
  assert.match(text, /Cheapest {2}none that is known here/)
  assert.match(text, /paddock\/starter answers in its place/)
  assert.match(
    text,
    /Refused {3}a create would be, now: LoRA adapter does not match base model: It changes "blk\.9"\.\n/,
  )
  assert.match(text, /Refused {3}a create would be, now: Too many\.$/)
})
