/** What must not reach an engine, sent over HTTP to a gateway in front of one. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { embedded } from '../engines/llamacpp/embedded.ts'
import { type Bench, dialect, MockEngine, replicaOf, routeOf, startBench } from './testing.ts'

let engine: MockEngine
let bench: Bench
before(async () => {
  engine = await new MockEngine().listen()
  bench = await startBench({
    routes: [routeOf({ replicas: [replicaOf(engine.port)] })],
    engines: new Map([['llamacpp', { ...dialect, refusedField: embedded.refusedField }]]),
    over: { 'gateway.media_domains': ['Pictures.test'] },
  })
})
after(async () => {
  await bench.gateway.close({ drainMs: 0 })
  await engine.close()
})
const chat = (text: string, headers: Record<string, string> = {}) =>
  bench.send('/v1/chat/completions', { method: 'POST', body: text, headers })
const refusal = async (text: string) => {
  const answer = await chat(text)
  const { error } = (await answer.json()) as { error: { code: string; param: string } }
  return `${answer.status} ${error.code} ${error.param}`
}

test('of the client’s headers none reaches the engine', async () => {
  const headers = {
    'x-conversation-id': 'resumes',
    'x-data-parallel-rank': '3',
    'x-session-id': 'mine',
    'x-request-id': 'client-1',
    'endpoint-load-metrics-format': 'JSON',
    'x-paddock-anything': '1',
    cookie: 'a=b',
    'x-forwarded-for': '10.0.0.1',
  }
  assert.equal((await chat('{"model":"mine","messages":[]}', headers)).status, 200)
  const { headers: told } = engine.asked.at(-1)!
  const allowed = ['host', 'authorization', 'content-type', 'content-length', 'x-request-id', 'connection']
  assert.deepEqual(
    Object.keys(told).filter((name) => !allowed.includes(name)),
    [],
  )
  assert.equal(told.authorization, 'Bearer engine-secret')
  assert.notEqual(told['x-request-id'], 'client-1')
})

test('steering fields are refused by name, whatever their spelling and number; the engine hears nothing', async () => {
  const before = engine.asked.length
  for (const [text, told] of [
    ['{"model":"mine","messages":[],"id_slot":0}', '400 engine_parameter_refused id_slot'],
    ['{"model":"mine","messages":[],"\\u0069d_slot":0}', '400 engine_parameter_refused id_slot'],
    ['{"id_slot":0,"model":"mine","messages":[],"id_slot":null}', '400 engine_parameter_refused id_slot'],
    ['{"model":"mine","messages":[],"tools":[{"type":"mcp"}]}', '400 engine_parameter_refused tools[0].type'],
    ['{"model":"mine","messages":[],"tools":[{"type":"mcp","type":"function"}]}', '400 invalid_request tools'],
    [
      '{"model":"mine","messages":[{"role":"user","content":[{"image_url":{"url":"http://10.0.0.1/"}}]}]}',
      '400 engine_parameter_refused messages[0].content[0].image_url.url',
    ],
  ] as const)
    assert.equal(await refusal(text), told)
  assert.equal(engine.asked.length, before)
})

test('what is allowed reaches it as it was checked: of a field that stands twice the last', async () => {
  const url = 'https://pictures.test/a.png'
  const text = `{"model":"mine","temperature":2,"messages":[{"role":"user","content":[{"image_url":{"url":"${url}"}}]}],"temperatur\\u0065":0.25}`
  assert.equal((await chat(text)).status, 200)
  const { body } = engine.asked.at(-1)!
  assert.equal(body.temperature, 0.25)
  assert.deepEqual(body.messages, [{ role: 'user', content: [{ image_url: { url } }] }])
})
