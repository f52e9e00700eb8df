/** A request to one that sleeps and may not wake. */
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { systemClock, until } from '../runtime/clock.ts'
import { type Bench, MockEngine, replicaOf, routeOf, startBench } from './testing.ts'

const ends: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})
const heldOne = (b: Bench) => until(systemClock, 'it is held', 10_000, () => b.gateway.held().dep_1 === 1)

test('asleep, and the quota has no room: who waits is told at once, who comes later too, and the next when there is', async () => {
  const up = await new MockEngine().listen(0)
  ends.push(() => up.close())
  const b = await startBench({ routes: [routeOf({ replicas: [], phase: 'asleep' })] })
  ends.push(() => b.gateway.close({ drainMs: 0 }))
  const waiting = b.chat({})
  await heldOne(b)
  const message = 'It cannot wake. The quota is used up.'
  const reason = { code: 'quota_short' as const, message, since: new Date(0).toISOString(), retry_after: 60 }
  b.routes.apply([routeOf({ replicas: [], phase: 'asleep', reason })])
  for (const response of [await waiting, await b.chat({ stream: true })]) {
    assert.equal(response.status, 503)
    assert.deepEqual([response.headers.get('retry-after'), response.headers.get('x-should-retry')], ['60', 'true'])
    const { error } = (await response.json()) as { error: { code: string; message: string } }
    assert.equal(error.code, 'quota_short')
    assert.match(error.message, /It cannot wake\. The quota is used up\./)
  }
  b.routes.apply([routeOf({ replicas: [], phase: 'asleep' })])
  const later = b.chat({})
  await heldOne(b)
  b.routes.apply([routeOf({ replicas: [replicaOf(up.port)] })])
  assert.equal((await later).status, 200)
})
