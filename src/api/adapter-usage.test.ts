/** What LoRA adapters were asked for, as the metrics of their deployment show it. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { systemClock } from '../runtime/clock.ts'
import { encodeRequest } from '../usage/journal/record.ts'
import { requestOf } from '../usage/journal/testing.ts'
import { recordLines } from '../usage/store.ts'
import { makeWorld, type World, wish } from './testing.ts'

let world: World
before(async () => {
  world = await makeWorld()
})
after(() => world.close())

test('requests and tokens by adapter, the most asked first; those of others and of long ago are not in it', async () => {
  const create = async (name: string) => (await world.call('POST', '/deployments', { body: wish(name) })).json.id
  const [id, other] = [await create('one'), await create('other')]
  const now = systemClock.now()
  const usage = { promptTokens: 10, completionTokens: 4, cachedTokens: 8, reasoningTokens: 0 }
  const asked = (adapter: string | null, deploymentId = id, receivedAt = now) =>
    requestOf({ deploymentId, orgId: world.orgA, adapter, receivedAt, usage })
  const requests = [
    ...[asked('pirate'), asked('pirate'), asked('pirate+bulletin'), asked(null), asked('theirs', other)],
    asked('pirate', id, now - 7_200_000),
  ]
  await recordLines(world.db, requests.map(encodeRequest))
  const shown = await world.call('GET', `/deployments/${id}/metrics?window=1h`)
  // The deployment is younger than the window, and looked at from its minute on.
  assert.deepEqual(shown.json.adapters, [
    { adapter: 'pirate', requests: 2, input_tokens: 20, cached_tokens: 16, output_tokens: 8 },
    { adapter: 'pirate+bulletin', requests: 1, input_tokens: 10, cached_tokens: 8, output_tokens: 4 },
  ])
  const none = await world.call('GET', `/deployments/${other}/metrics?window=60s`)
  assert.deepEqual(
    none.json.adapters.map(({ adapter }: { adapter: string }) => adapter),
    ['theirs'],
  )
  const masked = await world.call('GET', `/deployments/${id}/metrics`, { key: world.keys.ownerB })
  assert.equal(masked.status, 404)
})
