/** SIGKILL of an engine and of its keeper: replaced, requests held meanwhile, and paid for until its death only. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { signalProcess } from '../../src/runtime/processes.ts'
import { type Server, startServer } from '../e2e/harness.ts'
import { Place } from '../e2e/place.ts'
import { procOnly } from '../e2e/processes.ts'

const chat = { model: 'steady', messages: [{ role: 'user' as const, content: 'Hello' }], max_tokens: 2 }
/** How far the recorded end may be from the signal. */
const endToleranceMs = 1_500

describe('SIGKILL of', { skip: procOnly }, () => {
  const place = new Place()
  let server: Server
  let id: string

  before(async () => {
    server = await startServer(place, {
      // Killed again and again as soon as it is back: that is not the engine's fault.
      env: { PADDOCK_LIVENESS_UNRESPONSIVE_SECONDS: '2', PADDOCK_START_STABLE_SECONDS: '0' },
    })
    id = (await server.deploy('steady')).id
    await server.active(id)
  })
  after(async () => {
    try {
      await server?.stop()
    } finally {
      await place.remove()
    }
  })

  /** Kills, sends a request at once, and expects a new engine to answer it. Gives the old replica as it ended. */
  async function replaced(role: 'engine' | 'keeper', signal: NodeJS.Signals = 'SIGKILL') {
    const engine = place.process('engine')
    const killedAt = systemClock.now()
    assert.ok(signalProcess(place.process(role), signal))
    if (signal === 'SIGKILL')
      await until(systemClock, 'the engine is gone', 60_000, () =>
        place.processes('engine').every(({ pid }) => pid !== engine.pid),
      )
    const answer = await server.openai().chat.completions.create(chat)
    assert.equal(answer.object, 'chat.completion')
    await until(systemClock, 'only the new engine and its keeper', 60_000, () => {
      const [engines, keepers] = [place.processes('engine'), place.processes('keeper')]
      return engines.length === 1 && keepers.length === 1 && engines[0]!.pid !== engine.pid
    })
    await server.when(id, 'serves', ({ phase, ready_replicas }) => phase === 'serving' && ready_replicas === 1)
    const old = (await server.native.listReplicas(id)).data.find((one) => one.id === engine.replicaId)!
    assert.notEqual(old.phase, 'ready')
    return { old, endedAfterMs: Date.parse(old.ended_at!) - killedAt }
  }

  it('an engine: replaced, the request that came meanwhile is answered, its interval ends at its death', async () => {
    for (let round = 0; round < 3; round++) {
      const { old, endedAfterMs } = await replaced('engine')
      assert.ok(endedAfterMs >= -5 && endedAfterMs < endToleranceMs, `ended ${endedAfterMs} ms after the signal`)
      assert.equal(old.exit!.signal, 'SIGKILL')
    }
  })

  it('a keeper: its engine goes with it, both are replaced', async () => {
    const { old, endedAfterMs } = await replaced('keeper')
    // Nobody was there to write the moment down: the last sign of life counts, never a later moment.
    assert.ok(endedAfterMs < endToleranceMs, `ended ${endedAfterMs} ms after the signal`)
    assert.ok(endedAfterMs > -10_000)
    assert.match(old.exit!.why, /keeper/)
  })

  it('(SIGSTOP) an engine that answers nothing any more is replaced', async () => {
    const { old } = await replaced('engine', 'SIGSTOP')
    assert.match(old.exit!.why, /answered no probe/)
  })

  it('an engine while its deployment is being deleted', async () => {
    const second = await server.deploy('second')
    await server.active(second.id)
    const [replica] = (await server.native.listReplicas(second.id)).data
    const engine = place.processes('engine').find(({ replicaId }) => replicaId === replica!.id)
    const deleting = server.native.deleteDeployment(second.id)
    signalProcess(engine!, 'SIGKILL')
    await deleting
    await server.gone(second.id)
    assert.equal(place.processes('engine').length, 1)
    const seen = await server.native.getDeployment(id)
    assert.equal(seen.phase, 'serving')
  })
})
