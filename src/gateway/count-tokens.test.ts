/** Counting the tokens of a message: passed on to engines that can, and free. */
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import type { EngineType } from '../engines/contract.ts'
import { vllm } from '../engines/vllm/driver.ts'
import { type Bench, type dialect, MockEngine, replicaOf, routeOf, startBench } from './testing.ts'

const route = 'messages/count_tokens'
const body = { model: 'mine', system: 'Be brief.', messages: [{ role: 'user', content: 'Hi' }] }
let engine: MockEngine
let bench: Bench
before(async () => {
  engine = await new MockEngine().listen()
  const replicas = [replicaOf(engine.port)]
  bench = await startBench({
    routes: [
      routeOf({ engine: 'vllm', replicas, limits: { rpm: null, tpm: 100_000, concurrency: null } }),
      routeOf({ deploymentId: 'dep_2', name: 'bare', replicas }),
    ],
    engines: new Map<EngineType, typeof dialect>([['vllm', vllm]]),
  })
})
after(async () => {
  await bench.gateway.close({ drainMs: 0 })
  await engine.close()
})
beforeEach(() => {
  bench.settled.length = 0
  engine.asked.length = 0
  engine.behave = (_asked, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"input_tokens":14}')
  }
})
const ask = (more: object = {}, path = `/v1/${route}`) =>
  bench.send(path, { method: 'POST', body: JSON.stringify({ ...body, ...more }) })
const errorOf = async (answer: Response) =>
  ((await answer.json()) as { error: { type: string; message: string; code?: string } }).error

test('the engine counts under its own name for the model, and nothing is charged', async () => {
  for (const path of [`/v1/${route}`, `/api/v1/public/deployments/dep_1/v1/${route}`]) {
    const answer = await ask({}, path)
    assert.deepEqual([answer.status, await answer.text()], [200, '{"input_tokens":14}'])
    assert.equal(answer.headers.get('x-ratelimit-limit-tokens'), '100000')
  }
  assert.deepEqual(engine.asked[0]!.body, { ...body, model: 'served-1' })
  assert.equal(engine.asked[0]!.path, `/v1/${route}`)
  const settled = await bench.settledUntil(2)
  for (const { status, usage, route: of } of settled)
    assert.deepEqual([status, usage, of], [200, { promptTokens: 0, completionTokens: 0 }, route])
})

test('what it reckoned with a limit of tokens is given back', async () => {
  const answers = [await ask({ system: 'x'.repeat(40_000) }), await ask()]
  for (const answer of answers) assert.equal(answer.status, 200)
  assert.ok(Number(answers[1]!.headers.get('x-ratelimit-remaining-tokens')) > 99_000)
})

test('an engine that does not count is named: one that never does, and one whose version does not', async () => {
  const bare = await ask({ model: 'bare' })
  assert.equal(bare.status, 400)
  assert.match((await errorOf(bare)).message, /llamacpp does not serve messages\/count_tokens/)
  assert.equal(engine.asked.length, 0)
  engine.behave = (_asked, response) => {
    response.writeHead(404, { 'content-type': 'application/json' }).end('{"detail":"Not Found"}')
  }
  const older = await ask()
  assert.equal(older.status, 400)
  assert.match((await errorOf(older)).message, /vllm does not serve messages\/count_tokens here/)
})

test('bad requests: no key, a field that is not of this route, another method', async () => {
  const unknown = await bench.send(`/v1/${route}`, { method: 'POST', body: JSON.stringify(body), key: null })
  assert.equal(unknown.status, 401)
  for (const more of [{ stream: true }, { max_tokens: 5 }]) {
    const refused = await ask(more)
    assert.equal(refused.status, 400)
    assert.match((await errorOf(refused)).message, new RegExp(Object.keys(more)[0]!))
  }
  assert.equal((await bench.send(`/v1/${route}`)).status, 405)
})
