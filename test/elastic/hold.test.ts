/** The bounds of holding, on the real server: a deployment that gets no hardware, and what its clients are told. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inNewPlace } from '../e2e/place.ts'
import { procOnly } from '../e2e/processes.ts'
import { Clients, kinds } from './load.ts'
import { startElastic } from './world.ts'

const room = 4
const heldSeconds = 3
const env = {
  PADDOCK_COMPUTE_LOCAL_CPU_SLOTS: '0',
  PADDOCK_HOLD_MAX_SECONDS: String(heldSeconds),
  PADDOCK_HOLD_MAX_REQUESTS: String(room),
  PADDOCK_HOLD_COMMENT_SECONDS: '0.5',
}

test('held in vain, or no room to wait: refused with the reason and when to come again', { skip: procOnly }, () =>
  inNewPlace(async (place) => {
    const server = await startElastic(place, { env })
    const clients = new Clients(server)
    try {
      const { id } = await server.deploy('waiting')
      await server.when(id, 'is queued', ({ phase }) => phase === 'queued')
      const plain = await clients.burst(room + 2, () => ({ model: id, tokens: 8, stream: false }))
      assert.deepEqual(kinds(plain), { 'refused 503 capacity_short': room, 'refused 503 hold_full': 2 })
      for (const { retryAfter, shouldRetry, code, ms } of plain) {
        assert.equal(shouldRetry, 'true')
        assert.ok(Number(retryAfter) >= 1 && Number(retryAfter) <= 60, `Retry-After: ${retryAfter}`)
        assert.ok(code === 'hold_full' || ms >= heldSeconds * 1000, `refused after ${ms} ms`)
      }
      const streams = await clients.burst(room, () => ({ model: id, tokens: 8, stream: true }))
      assert.deepEqual(kinds(streams), { 'error_event 200 capacity_short': room })
      for (const { comments } of streams) assert.ok(comments >= 2 && comments <= 8, `${comments} comments`)
    } finally {
      await clients.close()
    }
    await server.stop()
  }),
)
