import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeRoute, type RouteSource, sameRoute } from './publish.ts'

const replica = (id: string, modelId: string, over: Partial<RouteSource['replicas'][number]> = {}) => ({
  id,
  phase: 'ready' as const,
  silent: false,
  address: '127.0.0.1',
  port: 4_000,
  key: 'k',
  weight: 100,
  modelId,
  engine: 'llamacpp' as const,
  ...over,
})

const source = (replicas: RouteSource['replicas']): RouteSource => ({
  deployment: {
    id: 'dep_1',
    orgId: 'org_1',
    name: 'mine',
    modelId: 'new-model',
    emulated: false,
    servedBy: null,
    createdAt: new Date(0),
    desired: 'running',
  },
  engine: 'llamacpp',
  contextTokens: 4_096,
  phase: 'rolling',
  reason: null,
  replicas,
})

test('a replica of another revision says what it serves; one of the current says nothing', () => {
  const { replicas } = makeRoute(
    source([
      replica('rep_c', 'new-model'),
      replica('rep_b', 'old-model', { engine: 'vllm', phase: 'draining' }),
      replica('rep_a', 'old-model'),
      replica('rep_d', 'new-model', { phase: 'starting' }),
    ]),
  )
  assert.deepEqual(
    replicas.map(({ id, state, servedName, engine }) => [id, state, servedName, engine]),
    [
      ['rep_a', 'ready', 'old-model', undefined],
      ['rep_b', 'draining', 'old-model', 'vllm'],
      ['rep_c', 'ready', undefined, undefined],
    ],
  )
})

test('the same but for its version is the same; another name that is served is another route', () => {
  const route = makeRoute(source([replica('rep_a', 'new-model')]))
  assert.ok(sameRoute({ ...route, version: 7 }, route))
  assert.ok(!sameRoute(makeRoute(source([replica('rep_a', 'old-model')])), route))
  assert.ok(!sameRoute(null, route))
})
