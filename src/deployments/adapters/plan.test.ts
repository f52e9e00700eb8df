/** What is done about adapters, replica by replica; and what the gateways are told of it. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { type AdapterWorld, adapterSteps, againAt, verifyEveryMs } from './plan.ts'
import { summaryOf, withAdapters } from './summary.ts'

const now = 1_000_000
const adapter = (id: string, removed = false) => ({ id, name: id, path: `${id}.gguf`, rank: 4, removed })
const replica = (id: string, ready = true) => ({ id, ready, listedAt: now })
const state = (adapterId: string, replicaId: string, over: object = {}) => ({
  adapterId,
  replicaId,
  state: 'ready' as const,
  detail: null,
  handle: adapterId,
  tries: 0,
  nextAt: 0,
  ...over,
})
const steps = (world: Partial<AdapterWorld>) =>
  adapterSteps({ adapters: [], replicas: [], states: [], now, ...world }).map((step) => {
    const what = step.do === 'verify' ? step.adapters.map(({ id }) => id).join() : ''
    return `${step.do} ${'adapter' in step ? step.adapter.id : 'adapterId' in step ? step.adapterId : what} ${step.replicaId}`
  })

test('every ready replica gets every adapter, and none twice', () => {
  const adapters = [adapter('a'), adapter('b')]
  const replicas = [replica('r1'), replica('r2'), replica('r3', false)]
  assert.deepEqual(steps({ adapters, replicas }), ['load a r1', 'load b r1', 'load a r2', 'load b r2'])
  const states = [state('a', 'r1'), state('b', 'r1'), state('a', 'r2')]
  assert.deepEqual(steps({ adapters, replicas, states }), ['load b r2'])
})

test('what was begun by one that died is begun again; what failed is left, what waits waits', () => {
  const adapters = [adapter('a')]
  const replicas = [replica('r1')]
  const at = (over: object) => steps({ adapters, replicas, states: [state('a', 'r1', over)] })
  assert.deepEqual(at({ state: 'loading' }), ['load a r1'])
  assert.deepEqual(at({ state: 'failed' }), [])
  assert.deepEqual(at({ state: 'pending', nextAt: now + 1 }), [])
  assert.deepEqual(at({ state: 'pending', nextAt: now }), ['load a r1'])
})

test('one that was removed goes from where it is; a replica that is gone is forgotten', () => {
  const adapters = [adapter('a', true)]
  assert.deepEqual(steps({ adapters, replicas: [replica('r1'), replica('r2')], states: [state('a', 'r1')] }), [
    'unload a r1',
  ])
  assert.deepEqual(steps({ adapters: [adapter('a')], states: [state('a', 'r1')] }), ['forget a r1'])
})

test('engines are asked now and then whether they still have them', () => {
  const world = { adapters: [adapter('a')], states: [state('a', 'r1')] }
  const at = (listedAt: number, ready = true) => steps({ ...world, replicas: [{ id: 'r1', ready, listedAt }] })
  assert.deepEqual(at(now - verifyEveryMs + 1), [])
  assert.deepEqual(at(now - verifyEveryMs), ['verify a r1'])
  assert.deepEqual(at(now - verifyEveryMs, false), [])
})

test('pauses grow and have an end', () => {
  const pauses = [0, 1, 2, 10, 1000].map((tries) => againAt(tries, 0))
  assert.deepEqual(pauses, [1_000, 2_000, 4_000, 60_000, 60_000])
})

test('gateways are told which replica has which; of one that nobody could load, why', () => {
  const adapters = [adapter('a'), adapter('b')]
  const failed = { state: 'failed', detail: 'too large', handle: null }
  const states = [state('a', 'r1', { handle: '0' }), state('b', 'r1', failed), state('b', 'r2', failed)]
  const summary = summaryOf({ adapters, states })
  assert.deepEqual(summary, {
    names: { a: { id: 'a', failed: null }, b: { id: 'b', failed: 'too large' } },
    ready: { r1: { a: '0' } },
  })
  const route = { name: 'd', replicas: [{ id: 'r1' }, { id: 'r2', adapters: { old: 'x' } }], adapters: { old: {} } }
  const told = withAdapters(route as never, summary)
  assert.deepEqual(told.adapters, { a: { failed: null }, b: { failed: 'too large' } })
  assert.deepEqual(told.replicas as unknown, [{ id: 'r1', adapters: { a: '0' } }, { id: 'r2' }])
  const none = withAdapters(told, null)
  assert.deepEqual(none as unknown, { name: 'd', replicas: [{ id: 'r1' }, { id: 'r2' }] })
  assert.deepEqual(withAdapters(told, { names: {}, ready: {} }), none)
})
