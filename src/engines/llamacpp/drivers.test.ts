/** Launch lines to the letter, limits, refusals and dialect of both forms of llama.cpp. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { presets } from '../../deployments/presets.ts'
import type { EngineSpec, LaunchHost, ModelFiles } from '../contract.ts'
import { availableEngines } from '../registry.ts'
import { embedded } from './embedded.ts'
import { llamaServer } from './server.ts'

const engineDrivers = [embedded, llamaServer]
const model: ModelFiles = { modelId: 'm', format: 'gguf', path: '/weights/m.gguf', sizeBytes: 1, contextSize: 131_072 }
const host: LaunchHost = {
  address: '127.0.0.1',
  port: 4242,
  threads: 3,
  gpuIds: [],
  modelPath: '/placed/m.gguf',
  node: '/bin/node',
  packageRoot: '/pkg',
}
const spec = (over: Partial<EngineSpec> = {}): EngineSpec => ({ type: 'llamacpp', additionalArgs: [], ...over })
const input = (over: Partial<EngineSpec> = {}) => ({ spec: spec(over), model, host, servedName: 'm', apiKey: 'secret' })

test('embedded: the launch line, the key in the environment alone', () => {
  const launch = embedded.launch(input({ maxModelLen: 4096, maxNumSeqs: 2 }))
  assert.deepEqual(launch.argv, [
    '/bin/node',
    '/pkg/src/engines/llamacpp/worker/main.ts',
    ...['--model', '/placed/m.gguf', '--host', '127.0.0.1', '--port', '4242', '--served-name', 'm'],
    ...['--context', '4096', '--sequences', '2', '--threads', '3', '--die-with-stdin'],
  ])
  assert.deepEqual(launch.env, { PADDOCK_ENGINE_KEY: 'secret' })
})

/** What each knob adds to or changes in the shortest launch line of llama-server, to the letter. */
const shortest =
  '--model /placed/m.gguf --host 127.0.0.1 --port 4242 --alias m --ctx-size 32768 --parallel 4 --threads 3 --metrics --no-slots --no-webui --offline'
const adapter = (engineName: string) => ({ engineName, path: `/placed/${engineName}.gguf`, rank: 8 })
const goldens: [knob: string, over: Partial<EngineSpec>, adapters: string[], line: string][] = [
  ['nothing', {}, [], shortest],
  [
    'context: that of all slots together',
    { maxModelLen: 4096, maxNumSeqs: 2 },
    [],
    shortest.replace('32768 --parallel 4', '8192 --parallel 2'),
  ],
  [
    'context per slot stays when there are more',
    { maxModelLen: 4096, maxNumSeqs: 16 },
    [],
    shortest.replace('32768 --parallel 4', '65536 --parallel 16'),
  ],
  [
    'keys and values',
    { additionalArgs: ['--cache-type-k', 'q8_0', '--cache-type-v', 'q4_0'] },
    [],
    `${shortest} --cache-type-k q8_0 --cache-type-v q4_0`,
  ],
  [
    'embeddings',
    { additionalArgs: ['--embeddings', '--pooling', 'mean'] },
    [],
    `${shortest} --embeddings --pooling mean`,
  ],
  [
    'one adapter',
    {},
    ['a'],
    shortest.replace('--metrics', '--lora /placed/a.gguf --lora-init-without-apply --metrics'),
  ],
  [
    'two adapters',
    {},
    ['a', 'b'],
    shortest.replace('--metrics', '--lora /placed/a.gguf,/placed/b.gguf --lora-init-without-apply --metrics'),
  ],
  [
    'preset speed',
    { tuning: presets.speed.tuning },
    [],
    `${shortest.replace('32768 --parallel 4', '65536 --parallel 8')} --batch-size 4096 --ubatch-size 1024`,
  ],
  [
    'preset latency',
    { tuning: presets.latency.tuning },
    [],
    `${shortest.replace('32768 --parallel 4', '16384 --parallel 2')} --spec-type ngram-mod`,
  ],
  [
    'preset cost',
    { tuning: presets.cost.tuning },
    [],
    `${shortest} --cache-type-k q8_0 --cache-type-v q8_0 --flash-attn on`,
  ],
  ['preset balanced', { tuning: presets.balanced.tuning }, [], shortest],
  [
    'a preset and one’s own',
    { tuning: presets.cost.tuning, maxNumSeqs: 2, additionalArgs: ['--cache-type-k', 'f16'] },
    [],
    `${shortest.replace('32768 --parallel 4', '16384 --parallel 2')} --cache-type-v q8_0 --flash-attn on --cache-type-k f16`,
  ],
  [
    'a preset and adapters',
    { tuning: presets.latency.tuning },
    ['a'],
    `${shortest.replace('32768 --parallel 4', '16384 --parallel 2').replace('--metrics', '--lora /placed/a.gguf --lora-init-without-apply --metrics')} --spec-type ngram-mod`,
  ],
]
for (const [knob, over, adapters, line] of goldens)
  test(`llama-server's launch line: ${knob}`, () => {
    const launch = llamaServer.launch({ ...input(over), adapters: adapters.map(adapter) })
    assert.deepEqual(launch.argv.join(' '), `llama-server ${line}`)
    assert.deepEqual(launch.env, { LLAMA_API_KEY: 'secret' })
    assert.deepEqual([launch.image, launch.stopGraceSeconds, launch.files], [null, 10, undefined])
  })

test('embedded: a preset and one’s own in the launch line', () => {
  const tail = (over: Partial<EngineSpec>) => embedded.launch(input(over)).argv.join(' ').split('--threads 3 ')[1]
  const { tuning } = presets.cost
  assert.equal(tail({ tuning }), '--cache-type-k q8_0 --cache-type-v q8_0 --die-with-stdin')
  const own = { tuning, additionalArgs: ['--cache-type-k', 'f16'] }
  assert.equal(tail(own), '--cache-type-v q8_0 --cache-type-k f16 --die-with-stdin')
})

test('what is absent becomes a default that a laptop can hold', () => {
  for (const driver of engineDrivers)
    assert.deepEqual(driver.limits(spec(), model), { contextTokens: 8_192, sequences: 4 })
  assert.equal(embedded.limits(spec(), { contextSize: 2048 }).contextTokens, 2048)
})

test('problems are told in sentences', () => {
  const count = (driver: typeof embedded, over: Partial<EngineSpec>) => driver.validate(spec(over), model).length
  assert.equal(count(embedded, {}), 0)
  assert.equal(count(embedded, { additionalArgs: ['--mlock'] }), 1)
  assert.equal(count(embedded, { additionalArgs: ['--cache-type-k', 'q4_0', '--cache-type-v', 'f16'] }), 0)
  assert.equal(count(embedded, { additionalArgs: ['--cache-type-k', 'q3_0'] }), 1)
  for (const trick of ['--model', '--die-with-stdin', '--cache_type_k', '--cache-type-k=q8_0', '--host'])
    assert.equal(count(embedded, { additionalArgs: [trick] }), 1, trick)
  assert.equal(count(embedded, { maxModelLen: 200_000 }), 1)
  assert.equal(count(embedded, { maxNumSeqs: 0, maxModelLen: 1.5 }), 2)
  assert.equal(embedded.validate(spec(), { format: 'safetensors', contextSize: 1 }).length, 1)
  assert.equal(count(llamaServer, { additionalArgs: ['--batch-size', '256', '--mlock'] }), 0)
  for (const trick of ['--api-key', '--model=/etc/passwd', '--batch', '--BATCH-SIZE', '--lora', '-m', '--batch_size'])
    assert.equal(count(llamaServer, { additionalArgs: [trick] }), 1, trick)
  assert.equal(count(llamaServer, { additionalArgs: ['--batch-size'] }), 1)
  assert.equal(count(llamaServer, { additionalArgs: ['--batch-size', '--mlock'] }), 1)
})

test('readiness: refused, loading, warming up, ready, broken', () => {
  for (const { readiness } of engineDrivers) {
    assert.deepEqual(readiness(200, '{"status":"ok"}'), { state: 'ready' })
    assert.equal(readiness(null, '').state, 'not_ready')
    assert.deepEqual(readiness(503, '{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}'), {
      state: 'not_ready',
      phase: 'load',
      detail: 'loading',
    })
    assert.equal(
      (readiness(503, '{"status":"loading","phase":"warmup","progress":1}') as { phase: string }).phase,
      'warmup',
    )
    assert.equal(readiness(500, 'x').state, 'broken')
    assert.equal(readiness(503, '[1,2]').state, 'not_ready')
  }
})

test('readiness: since when each part of the start is under way, as the engine says; nonsense is nothing', () => {
  for (const { readiness } of engineDrivers) {
    const ready = readiness(200, '{"status":"ok","phases_ms_ago":{"load":700,"warmup":30,"ready":2}}')
    assert.deepEqual(ready, { state: 'ready', agoMs: { load: 700, warmup: 30, ready: 2 } })
    const loading = readiness(503, '{"status":"loading","phase":"load","progress":0.5,"phases_ms_ago":{"load":9}}')
    assert.deepEqual(loading, { state: 'not_ready', phase: 'load', detail: 'loading 50 %', agoMs: { load: 9 } })
    for (const said of ['[]', '7', '{"load":-1}', '{"load":"1","files":3}', 'null', '{"load":null}'])
      assert.deepEqual(readiness(200, `{"status":"ok","phases_ms_ago":${said}}`), { state: 'ready' }, said)
  }
})

test('metrics of both under one name', () => {
  const server =
    'llamacpp:requests_processing 2\nllamacpp:requests_deferred 5\nllamacpp:tokens_predicted_total 77\n# comment\n'
  assert.deepEqual(llamaServer.metrics(server), { running: 2, waiting: 5, generatedTokensTotal: 77 })
  assert.deepEqual(
    embedded.metrics(
      'vllm:num_requests_running{a="b"} 1\nvllm:kv_cache_usage_perc 0.5\nvllm:num_requests_waiting NaN\n',
    ),
    {
      running: 1,
      waiting: 0,
      kvUsage: 0.5,
    },
  )
})

test('fields that steer the engine are refused by name', () => {
  for (const field of ['id_slot', 'cache_prompt', 'lora', 'chat_template', 'grammar'])
    assert.equal(embedded.refusedField('chat/completions', { messages: [], [field]: 1 }), field)
  assert.equal(embedded.refusedField('chat/completions', { messages: [], temperature: 1, seed: 2 }), null)
})

test('the embedded engine is always there; llama-server when it is on the PATH', () => {
  const none = availableEngines([{ ...llamaServer, program: 'no-such-program-anywhere' }, embedded])
  assert.deepEqual([...none.keys()], ['llamacpp'])
  assert.ok(availableEngines([{ ...llamaServer, program: 'sh' }]).has('llama-server'))
})
