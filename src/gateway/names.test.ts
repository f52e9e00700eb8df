/** Demand belongs to a deployment, whatever a request calls it: a name that was not counted would not scale it. */
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { systemClock, until } from '../runtime/clock.ts'
import { DemandCounts } from '../usage/demand.ts'
import { MockEngine, replicaOf, routeOf, startBench } from './testing.ts'

const ends: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

test('by name, by id, on its own path and by its model: held, answered and counted as one deployment', async () => {
  const up = await new MockEngine().listen()
  ends.push(() => up.close())
  const b = await startBench({ routes: [routeOf({ phase: 'asleep' })] })
  ends.push(() => b.gateway.close({ drainMs: 0 }))
  const own = (path: string, body: object) =>
    b.send(`/api/v1/public/deployments/${path}/chat/completions`, { method: 'POST', body: JSON.stringify(body) })
  const asked = [
    b.chat({ model: 'mine' }),
    b.chat({ model: 'dep_1' }),
    own('dep_1', {}),
    own('mine', { model: 'paddock/starter' }),
  ]
  await until(systemClock, 'all are held', 10_000, () => b.gateway.held().dep_1 === asked.length)
  assert.deepEqual(Object.keys(b.gateway.held()), ['dep_1'])
  b.routes.apply([routeOf({ replicas: [replicaOf(up.port)] })])
  for (const response of await Promise.all(asked)) assert.equal(response.status, 200)
  const counts = new DemandCounts()
  for (const { deploymentId, code } of await b.settledUntil(asked.length)) counts.ended(deploymentId!, code, null, 1)
  assert.deepEqual(Object.keys(counts.read({}, 1)), ['dep_1'])
  assert.equal(counts.read({}, 1).dep_1!.arrivals, asked.length)
})

test('an uploaded model by its name: the one deployment of it, and 409 with their names when there are several', async () => {
  const up = await new MockEngine().listen()
  ends.push(() => up.close())
  const replicas = [replicaOf(up.port)]
  const of = (deploymentId: string, over: object = {}) =>
    routeOf({ deploymentId, name: deploymentId.replace('_', '-'), modelId: 'byom:mine', replicas, ...over })
  const b = await startBench({ routes: [of('dep_1'), of('dep_9', { orgId: 'org_b' })] })
  ends.push(() => b.gateway.close({ drainMs: 0 }))
  assert.equal((await b.chat({ model: 'byom:mine' })).status, 200)
  assert.equal((await b.chat({ model: 'byom:other' })).status, 404)
  b.routes.apply([of('dep_2')])
  const several = await b.chat({ model: 'byom:mine' })
  assert.equal(several.status, 409)
  const { error } = (await several.json()) as { error: { code: string; message: string } }
  assert.equal(error.code, 'conflict')
  assert.match(error.message, /dep-1, dep-2/)
  // What rests, has gone, or has another model by now is not meant.
  b.routes.apply([of('dep_2', { phase: 'stopped', replicas: [] })])
  assert.equal((await b.chat({ model: 'byom:mine' })).status, 200)
  b.routes.apply([of('dep_2'), of('dep_1', { modelId: 'paddock/starter' })])
  assert.equal((await b.chat({ model: 'byom:mine' })).status, 200)
  b.routes.apply([of('dep_2', { removed: true })])
  assert.equal((await b.chat({ model: 'byom:mine' })).status, 404)
})
