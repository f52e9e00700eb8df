/** Requests that name adapters: to whom they go, what engines are told, and that others are not kept waiting by them. */
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import type { Limits } from '../access/limits.ts'
import { embedded } from '../engines/llamacpp/embedded.ts'
import { systemClock, until } from '../runtime/clock.ts'
import { adaptersAsked, hasAdapters, routeWith, splitModel } from './adapters.ts'
import { MockEngine, replicaOf, routeOf, startBench } from './testing.ts'

const ends: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})
const plain = { failed: null }
const route = (over: object = {}) => routeOf({ adapters: { a: plain, 'b-2': plain }, ...over })
const engines = new Map([['llamacpp', embedded] as const])

async function engine(): Promise<MockEngine> {
  const up = await new MockEngine().listen()
  ends.push(() => up.close())
  return up
}
async function bench(over: object) {
  const b = await startBench({ routes: [route(over)], engines })
  ends.push(() => b.gateway.close({ drainMs: 0 }))
  return b
}

test('the name is taken apart at its last colon', () => {
  assert.deepEqual(splitModel('mine:a'), { base: 'mine', adapters: 'a' })
  assert.deepEqual(splitModel('byom:x:a@0.5+b'), { base: 'byom:x', adapters: 'a@0.5+b' })
  for (const model of ['mine', ':a', '']) assert.equal(splitModel(model), null)
  assert.equal(hasAdapters(route(), 'a@0.1+b-2'), true)
  for (const adapters of ['', 'c', 'a+c', 'a+', 'toString', 'a@1+__proto__'])
    assert.equal(hasAdapters(route(), adapters), false)
})

test('what is asked: shares in their order, names without them; bad scales and mixes that the engine lacks are told', () => {
  const asked = (model: string, mixes = true) => adaptersAsked(route(), model, { adapters: { mixes } as never })
  assert.equal(asked('mine'), null)
  assert.deepEqual(asked('mine:a'), { key: 'a@1', names: 'a', shares: [{ name: 'a', scale: 1 }], limited: false })
  const mixed = asked('mine:b-2@0.30+a@0.7')!
  assert.deepEqual([mixed.key, mixed.names], ['b-2@0.3+a@0.7', 'a+b-2'])
  for (const bad of [
    'mine:a@',
    'mine:a@0',
    'mine:a@5',
    'mine:a@1e3',
    'mine:a@-1',
    'mine:a@0.70001',
    'mine:a+a',
    'mine:a@1@1',
  ])
    assert.throws(() => asked(bad), { code: 'invalid_request' }, bad)
  assert.equal(asked('mine:a', false)?.key, 'a@1')
  for (const model of ['mine:a+b-2', 'mine:a@0.5'])
    assert.throws(() => asked(model, false), { code: 'engine_unsupported' })
})

test('only replicas that have loaded all that is asked; and why there are none', () => {
  const replicas = [
    { ...replicaOf(1, { id: 'rep_1' }), adapters: { a: 'x' } },
    { ...replicaOf(2, { id: 'rep_2' }), adapters: { a: 'y', 'b-2': 'z' } },
    replicaOf(3, { id: 'rep_3' }),
  ]
  const now = route({ replicas })
  const ids = (model: string, of = now) => {
    const narrow = routeWith(of, adaptersAsked(of, model, embedded)!)
    return narrow instanceof Error ? narrow.code : narrow.replicas.map(({ id }) => id)
  }
  assert.deepEqual(ids('mine:a'), ['rep_1', 'rep_2'])
  assert.deepEqual(ids('mine:a@0.5+b-2'), ['rep_2'])
  assert.equal(
    routeWith(now, adaptersAsked(now, 'mine:a', embedded)!),
    routeWith(now, adaptersAsked(now, 'mine:a', embedded)!),
  )
  assert.equal(ids('mine:a', route({ replicas, adapters: { a: { failed: 'too large' } } })), 'adapter_failed')
  const asked = adaptersAsked(now, 'mine:a', embedded)!
  assert.equal((routeWith(route({ adapters: {} }), asked) as { code?: string }).code, 'model_not_found')
})

test('the engine is told by its own name for it; the client sees what it asked; the ledger has the adapters', async () => {
  const [has, hasNot] = [await engine(), await engine()]
  const b = await bench({
    replicas: [
      { ...replicaOf(has.port, { id: 'rep_1' }), adapters: { a: 'ada_1', 'b-2': 'ada_2' } },
      replicaOf(hasNot.port, { id: 'rep_2' }),
    ],
  })
  for (const model of ['mine:a', 'dep_1:a', 'mine:b-2@0.3+a@0.7']) {
    const response = await b.chat({ model })
    assert.equal(response.status, 200)
    assert.equal(((await response.json()) as { model: string }).model, model)
  }
  const own = await b.send('/api/v1/public/deployments/mine/chat/completions', {
    method: 'POST',
    body: JSON.stringify({ model: 'paddock/starter:a', messages: [], stream: true }),
  })
  assert.equal(own.status, 200)
  await own.text()
  const told = has.asked.map(({ body }) => [body.model, body.adapters])
  const one = [{ name: 'ada_1', scale: 1 }]
  const mixed = [
    { name: 'ada_2', scale: 0.3 },
    { name: 'ada_1', scale: 0.7 },
  ]
  assert.deepEqual(
    told,
    [one, one, mixed, one].map((adapters) => ['served-1', adapters]),
  )
  assert.equal(hasNot.asked.length, 0)
  const settled = await b.settledUntil(4)
  assert.deepEqual(
    settled.map(({ adapter }) => adapter),
    ['a', 'a', 'a+b-2', 'a'],
  )
  for (const model of ['mine:c', 'mine:a+c', 'other:a', 'mine:'])
    assert.equal((await b.chat({ model })).status, 404, model)
  assert.match(await (await b.chat({ model: 'mine:c' })).text(), /no model \\"mine:c\\" here\. mine has a, b-2\./)
  assert.equal((await b.chat({ model: 'mine:a', adapters: [] })).status, 400, 'no member of ours from outside')
})

test('one that waits for an adapter does not keep the others waiting, and goes where it is loaded', async () => {
  const [first, second] = [await engine(), await engine()]
  const b = await bench({ replicas: [], phase: 'starting' })
  const adapted = b.chat({ model: 'mine:a' })
  await until(systemClock, 'it is held', 10_000, () => b.gateway.held().dep_1 === 1)
  const base = b.chat({ model: 'mine' })
  await until(systemClock, 'both are held', 10_000, () => b.gateway.held().dep_1 === 2)
  b.routes.apply([route({ replicas: [replicaOf(first.port, { id: 'rep_1' })] })])
  assert.equal((await base).status, 200)
  assert.equal(b.gateway.held().dep_1, 1)
  const has = { ...replicaOf(second.port, { id: 'rep_2' }), adapters: { a: 'ada_1' } }
  b.routes.apply([route({ replicas: [replicaOf(first.port, { id: 'rep_1' }), has] })])
  assert.equal((await adapted).status, 200)
  assert.deepEqual([first.asked.length, second.asked.length], [1, 1])
})

test('limits of its own: other adapters and the model itself go on; a mixture counts for each; 429 says whose', async () => {
  const up = await engine()
  const none: Limits = { rpm: null, tpm: null, concurrency: null }
  const replicas = [{ ...replicaOf(up.port), adapters: { a: 'ada_1', 'b-2': 'ada_2' } }]
  const limited = (rpm: number) => ({ a: { failed: null, limits: { ...none, rpm } }, 'b-2': plain })
  const b = await bench({ replicas, adapters: limited(2) })
  const left = (response: Response) => response.headers.get('x-ratelimit-remaining-requests')
  const say = async (model: string) => {
    const response = await b.chat({ model })
    return [response.status, left(response)]
  }
  assert.deepEqual(await say('mine:a'), [200, '1'])
  assert.deepEqual(await say('mine:b-2'), [200, null])
  assert.deepEqual(await say('mine:a@0.5+b-2@0.5'), [200, '0'])
  for (const model of ['mine:a', 'mine:b-2+a']) {
    const refused = await b.chat({ model })
    assert.deepEqual([refused.status, left(refused)], [429, '0'])
    assert.ok(Number(refused.headers.get('retry-after')) > 30)
    const { error } = (await refused.json()) as { error: Record<string, string> }
    assert.equal(error.code, 'rate_limited')
    assert.match(error.message!, /^The adapter a of this deployment takes 2 requests in 60 seconds/)
  }
  assert.deepEqual(await say('mine'), [200, null])
  b.routes.apply([route({ replicas, adapters: limited(4) })])
  assert.deepEqual(await say('mine:a'), [200, '1'], 'what was asked before the change counts')
  const settled = await b.settledUntil(7)
  const refused = settled.filter(({ status }) => status === 429)
  assert.deepEqual(
    refused.map(({ adapter, usage }) => [adapter, usage]),
    [
      ['a', null],
      ['a+b-2', null],
    ],
  )
})

test('it could not be loaded, or is removed while requests wait: they are told', async () => {
  const up = await engine()
  const b = await bench({ replicas: [replicaOf(up.port)] })
  const waits = b.chat({ model: 'mine:a' })
  await until(systemClock, 'it is held', 10_000, () => b.gateway.held().dep_1 === 1)
  b.routes.apply([route({ replicas: [replicaOf(up.port)], adapters: { a: { failed: 'it is torn' } } })])
  const failed = await waits
  assert.equal(failed.status, 503)
  assert.match(await failed.text(), /it is torn/)
  assert.equal(up.asked.length, 0)
})
