import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Explanation } from '../wire/native/explanation.ts'
import { bodyField } from './chat.ts'
import { readableLog } from './demo/log-text.ts'
import { shellWord } from './demo/page.ts'
import { type DeployOptions, deployBody, nameFor } from './deploy.ts'
import { explanationText } from './explain.ts'
import { Failure, failureDocument, failureText, toFailure } from './failure.ts'
import { linesAfter } from './logs.ts'
import { serveFlags } from './serve.ts'
import { startParts } from './start-parts.ts'

const usual: DeployOptions = { gpu: 'cpu', timeout: '10m' }

test('what is typed becomes a create request', () => {
  assert.deepEqual(deployBody('paddock/starter', usual), {
    name: 'starter',
    model_id: 'paddock/starter',
    gpu_type: 'cpu',
    replicas: 1,
  })
  const all = {
    ...usual,
    name: 'x',
    gpu: 'h100',
    count: '2',
    region: 'nyc2',
    replicas: '3',
    engine: 'llamacpp',
    engineVersion: '0.20.0',
    engineArgs: ' --enforce-eager --seed 7',
    maxModelLen: '4096',
    maxNumSeqs: '8',
  }
  assert.deepEqual(deployBody('m', all), {
    name: 'x',
    model_id: 'm',
    gpu_type: 'h100',
    gpu_count: 2,
    region: 'nyc2',
    replicas: 3,
    engine: {
      type: 'llamacpp',
      version: '0.20.0',
      additional_args: ['--enforce-eager', '--seed', '7'],
      max_model_len: 4096,
      max_num_seqs: 8,
    },
  })
  const listed = deployBody('m', { ...usual, engineArgs: '["--a", "b c"]' })
  assert.deepEqual(listed.engine, { additional_args: ['--a', 'b c'] })
  for (const wrong of [
    { engineArgs: '[1]' },
    { engineArgs: '[' },
    { count: '0' },
    { replicas: '1.5' },
    { maxModelLen: 'many' },
    { count: '-1' },
  ])
    assert.throws(
      () => deployBody('m', { ...usual, ...wrong }),
      (error: unknown) => (error as Failure).status === 2,
    )
})

test('a name is made from the model', () => {
  const names = [
    'paddock/starter',
    '/models/My Model.GGUF',
    'hf:org/Qwen3-8B@main',
    'byom:mine',
    `${'x'.repeat(62)}-y`,
  ].map(nameFor)
  assert.deepEqual(names, ['starter', 'my-model', 'qwen3-8b', 'byom-mine', 'x'.repeat(62)])
  assert.throws(() => nameFor('///'), Failure)
})

test('only flags that were typed reach the server', () => {
  assert.deepEqual(serveFlags({ color: true }, {}), {})
  assert.deepEqual(
    serveFlags({ color: true, port: '0', data: 'd' }, { fleet: 'emulated', logLevel: 'warn', keepEngines: true }),
    {
      port: '0',
      data: 'd',
      fleet: 'emulated',
      keep_engines: true,
      'log.level': 'warn',
    },
  )
})

test('further fields of a request are JSON where they are JSON', () => {
  const fields = ['seed=7', 'stop=a=b', 'ignore_eos=true', 'stop=["a"]', 'user='].map(bodyField)
  assert.deepEqual(fields, [
    ['seed', 7],
    ['stop', 'a=b'],
    ['ignore_eos', true],
    ['stop', ['a']],
    ['user', ''],
  ])
  for (const wrong of ['seed', '=7', 'a b=1']) assert.throws(() => bodyField(wrong), Failure)
})

test('following prints every line once while the window moves', () => {
  const cases: [string[], string[], string[]][] = [
    [[], ['a'], ['a']],
    [['a', 'b'], ['a', 'b'], []],
    [['a', 'b'], ['a', 'b', 'c'], ['c']],
    [
      ['a', 'b', 'c'],
      ['b', 'c', 'd', 'e'],
      ['d', 'e'],
    ],
    [['a', 'a', 'b'], ['a', 'b', 'a'], ['a']],
    [
      ['a', 'b'],
      ['x', 'y'],
      ['x', 'y'],
    ],
    [['a'], [], []],
  ]
  for (const [before, now, fresh] of cases) assert.deepEqual(linesAfter(before, now), fresh)
})

test('a failure is one or two sentences, or one document', () => {
  const failure = new Failure(
    3,
    'not_found',
    'There is no deployment "x\u001B[31m\n".',
    'List yours with "paddock ls".',
  )
  assert.equal(failureText(failure), 'Error: There is no deployment "x ". List yours with "paddock ls".')
  assert.deepEqual(failureDocument(new Failure(1, 'c', 'm', 'a', { detail: { d: 1 }, requestId: 'req_1' })), {
    error: { code: 'c', message: 'm', action: 'a', detail: { d: 1 }, request_id: 'req_1' },
  })
  const misfit = new Failure(1, 'adapter_mismatch', 'LoRA adapter does not match base model', 'Choose another.', {
    detail: { adapter: 'a', reason: 'It changes "blk.9".' },
  })
  assert.equal(
    failureText(misfit),
    'Error: LoRA adapter does not match base model: It changes "blk.9". Choose another.',
  )
  const many = Array.from({ length: 22 }, (_, at) => `m${at}`)
  const unsupported = new Failure(1, 'c', 'No.', 'Choose.', { detail: { model_id: 'x', supported_models: many } })
  assert.match(failureText(unsupported), /^Error: No\. Choose\. \(supported models: m0, m1, .*, m19 and 2 more\)$/)
  const fields = { fields: [{ field: 'a', problem: 'a: is wrong.' }], problems: ['a: is wrong.'] }
  assert.equal(
    failureText(new Failure(1, 'c', 'a: is wrong.', 'Correct.', { detail: fields })),
    'Error: a: is wrong. Correct.',
  )
  const said = new Failure(1, 'adapter_unreadable', 'This is no adapter: cut off.', '', {
    detail: { reason: 'cut off' },
  })
  assert.equal(failureText(said), 'Error: This is no adapter: cut off.')
  assert.equal(toFailure(new Error('boom')).status, 1)
})

test('the server’s log is shown as sentences, without keys', () => {
  const log = [
    '{"level":30,"time":"2026-11-21T00:00:00.000Z","role":"supervisor","msg":"started","port":1}',
    'Operator key, shown this once: sk_abcdefghijklmnop',
    'paddock: Port 1 is taken.',
    '{"half":',
    '',
  ].join('\n')
  assert.deepEqual(readableLog(log, 10), [
    'supervisor: started port=1',
    'Operator key, shown this once: sk_…',
    'paddock: Port 1 is taken.',
    '{"half":',
  ])
  assert.equal(readableLog(log, 2).length, 2)
})

test('a folder is a word for the shell, and a home stays a home', () => {
  assert.equal(shellWord('/opt/a-b_c.1'), '/opt/a-b_c.1')
  assert.equal(shellWord('~/.paddock-demo'), '~/.paddock-demo')
  assert.equal(shellWord('~/my data'), "~/'my data'")
  assert.equal(shellWord("/it's $HOME"), "'/it'\\''s $HOME'")
})

const replica: Explanation['replicas'][number] = {
  id: 'rep_1',
  revision: 1,
  phase: 'ready',
  gpu_type: 'h100',
  gpu_count: 1,
  region: 'atl1',
  created_at: '2026-11-21T12:00:00.000Z',
  ready_at: '2026-11-21T12:00:01.500Z',
  ended_at: null,
  start_phases: {
    load: '2026-11-21T12:00:00.400Z',
    hardware: '2026-11-21T12:00:00.000Z',
    warmup: '2026-11-21T12:00:01.400Z',
  },
  start_ms: { hardware: 400, load: 1000, warmup: 70 },
  exit: null,
}

test('the parts of a start, in their order, as the server measured them', () => {
  assert.deepEqual(startParts(replica), [
    { name: 'hardware', ms: 400, open: false },
    { name: 'load', ms: 1000, open: false },
    { name: 'warm-up', ms: 70, open: false },
  ])
  const starting = { ...replica, ready_at: null }
  assert.deepEqual(startParts(starting).at(-1), { name: 'warm-up', ms: 70, open: true })
  assert.equal(startParts(starting, Date.parse('2026-11-21T12:00:03.400Z')).at(-1)?.ms, 2000)
})

const deployment: Explanation['deployment'] = {
  id: 'dep_1',
  org_id: 'org_default',
  name: 'demo',
  model_id: 'paddock/starter',
  model_source: null,
  gpu_type: 'h100',
  gpu_count: 1,
  region: null,
  hardware: [
    { gpu_type: 'h100', gpu_count: 1, region: null, hourly_cost_usd: 4.41, skipped: null },
    { gpu_type: 'mi300x_8', gpu_count: 1, region: 'tor1', hourly_cost_usd: 20.7, skipped: 'Too dear.' },
  ],
  max_hourly_usd: 10,
  queue: { position: 2, of: 3, since: '2026-11-21T12:00:00.000Z', missing_replicas: 1, comparable: [] },
  runs_on: [],
  replicas: 1,
  engine: {
    type: 'llamacpp',
    version: null,
    max_model_len: null,
    max_num_seqs: null,
    additional_args: [],
    why: '',
    preset_sets: [],
    preset_sequences: null,
    preset_leaves_out: [],
  },
  status: 'provisioning',
  phase: 'starting',
  reason: { code: 'start_failed', message: 'The last start failed.', since: replica.created_at },
  desired_replicas: 1,
  ready_replicas: 0,
  revision: 1,
  endpoint_url: null,
  hourly_cost_usd: 4.41,
  hourly_cost_max_usd: 4.41,
  cost_usd: 0.0031,
  emulated: true,
  simulated: false,
  served_by: null,
  expires_at: null,
  schedule: null,
  preset: null,
  limits: { rpm: null, tpm: null, concurrency: null },
  created_at: replica.created_at,
  updated_at: replica.created_at,
  deleted_at: null,
}

test('explain says why, how it started and what happened, harmlessly', () => {
  const explanation: Explanation = {
    deployment,
    why: ['rep_1 ended: it died.'],
    engine_why: 'llamacpp, because the weights are gguf.',
    cold_start: {
      from: 'request',
      at: replica.created_at,
      replica_id: 'rep_1',
      actual_ms: 61_500,
      target_ms: 60_000,
      missed: true,
      waited_ms: 60_000,
      start_ms: replica.start_ms,
    },
    replicas: [
      replica,
      {
        ...replica,
        id: 'rep_0',
        exit: { at: replica.created_at, why: 'It died.', code: 1, signal: null, last_lines: ['\u001B[2Jlast words'] },
      },
    ],
    events: [{ type: 'deployment.created', at: replica.created_at, data: { name: 'demo', nothing: null } }],
    next_look_at: '2026-11-21T12:00:12.000Z',
  }
  const text = explanationText(explanation, new Date('2026-11-21T12:00:10.000Z'), (_, t) => t).join('\n')
  for (const part of [
    'starting (provisioning)',
    '1 × h100 (emulated)',
    '1 × h100, else 1 × mi300x_8 in tor1 (too dear); at most $10.00/hour',
    'place 2 of 3 for 1 more',
    '$0.0031 so far, $4.41/hour now',
    '  rep_1 ended: it died.',
    '  Engine: llamacpp, because the weights are gguf.',
    '  It is looked at again in 2.0 s.',
    'start: hardware 0.4 s · load 1.0 s · warm-up 0.1 s · ready after 1.5 s',
    '  Last cold start: 1m 02s from a request on, 1m 00s before its hardware was asked for. MISSED: 1m 00s is the target.',
    '    ended: It died.',
    '      last words',
    'deployment.created name=demo',
  ])
    assert.ok(text.includes(part), `${part} is missing in:\n${text}`)
  assert.ok(!text.includes('\u001B'))
})
