/**
 * Streams under way while replicas come and go: none fails, none is cut. Every stream is looked at token by token.
 * Streams per change: 200, and as many more as come until it is over; with FULL=1: 2,000.
 */
// test timeout: 900 s
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it, type TestContext } from 'node:test'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { packageRoot } from '../../src/runtime/self.ts'
import type { Server } from '../e2e/harness.ts'
import { Place } from '../e2e/place.ts'
import { procOnly } from '../e2e/processes.ts'
import { Clients, kinds } from './load.ts'
import { enginesOf, eventsOf, isFull, longMs, settledAt, startElastic } from './world.ts'

const streams = isFull ? 2_000 : 200
const atOnce = isFull ? 24 : 8
/** All that there is: with four replicas there is no place for a fifth. */
const slots = 4

describe('replicas come and go under load', { skip: procOnly }, () => {
  const place = new Place()
  let server: Server
  let clients: Clients
  let id: string

  before(async () => {
    const env = { PADDOCK_COMPUTE_LOCAL_CPU_SLOTS: String(slots), PADDOCK_MODELS_ALLOW_PATHS: modelFolder() }
    server = await startElastic(place, { env })
    clients = new Clients(server)
    id = (await server.deploy('flow', { replicas: 1 })).id
    await settledAt(server, id, 1)
  })
  after(async () => {
    await clients?.close()
    try {
      await server?.stop()
    } finally {
      await place.remove()
    }
  })

  /** Another model that loads, and one of which the half is missing. */
  function modelFolder(): string {
    const folder = join(place.root, 'models')
    if (existsSync(folder)) return folder
    mkdirSync(folder)
    const starter = readFileSync(join(packageRoot, 'models', 'starter', 'paddock-starter.gguf'))
    writeFileSync(join(folder, 'other.gguf'), starter)
    writeFileSync(join(folder, 'broken.gguf'), starter.subarray(0, starter.length / 2))
    return folder
  }

  /** Clients ask all the time while `change` is made, and as often as promised. */
  async function under(t: TestContext, change: () => Promise<void>): Promise<void> {
    const from = clients.answers.length
    let changed = false
    const asked = () => clients.answers.length - from
    const asking = clients.keepAsking(
      atOnce,
      (i) => ({ model: id, tokens: 6 + (i % 11), stream: true }),
      () => changed && asked() >= streams,
    )
    try {
      await change()
      t.diagnostic(`${asked()} streams when the change was over`)
    } finally {
      changed = true
      const answers = await asking
      t.diagnostic(`${answers.length} streams, longest ${Math.round(Math.max(...answers.map(({ ms }) => ms)))} ms`)
      assert.deepEqual(kinds(answers), { whole: answers.length })
    }
  }

  /** One more sequence than before: another revision, to be rolled to. */
  async function roll(sequences: number): Promise<void> {
    const { revision } = await server.native.changeDeployment(id, { engine: { max_num_seqs: sequences } })
    await server.when(id, `is at revision ${revision}`, (seen) => seen.revision === revision)
  }

  /** So many slots are somebody else's. */
  async function neighbours(replicas: number): Promise<void> {
    const there = (await server.native.listDeployments()).data.find(({ name }) => name === 'neighbour')
    const other = there
      ? await server.native.changeDeployment(there.id, { replicas })
      : await server.deploy('neighbour', { replicas })
    await settledAt(server, other.id, replicas)
  }

  it('1 → 4 → 1', async (t) => {
    await under(t, async () => {
      await server.native.changeDeployment(id, { replicas: 4 })
      await settledAt(server, id, 4)
      const used = () => new Set(clients.answers.map(({ replica }) => replica)).size
      await until(systemClock, 'each of the four has answered', longMs, () => used() === 4)
      await server.native.changeDeployment(id, { replicas: 1 })
      await settledAt(server, id, 1)
    })
    assert.equal((await enginesOf(server, id)).length, 1)
  })

  it('two rolls with a place to spare, the second begun in the middle of the first', async (t) => {
    await server.native.changeDeployment(id, { replicas: 2 })
    await settledAt(server, id, 2)
    await under(t, async () => {
      await roll(5)
      await server.when(id, 'rolls', ({ phase }) => phase === 'rolling')
      await roll(6)
      await settledAt(server, id, 2)
      await roll(7)
      await settledAt(server, id, 2)
    })
  })

  it('a roll to another model, and one to a model that does not load: it goes back by itself and says why', async (t) => {
    await under(t, async () => {
      await server.native.changeDeployment(id, { model_id: join(modelFolder(), 'other.gguf') })
      await server.when(id, 'rolls', ({ phase }) => phase === 'rolling')
      await settledAt(server, id, 2)
      await server.native.changeDeployment(id, { model_id: join(modelFolder(), 'broken.gguf') })
      await until(systemClock, 'the revision is given up', longMs, async () => {
        return (await eventsOf(server, id, 'revision.failed')).length > 0
      })
      await settledAt(server, id, 2)
      const revisions = (await server.native.listRevisions(id)).data
      assert.match(revisions.find(({ failed }) => failed)!.failed_why!, /\S/)
      assert.equal((await server.native.getDeployment(id)).model_id, join(modelFolder(), 'other.gguf'))
    })
  })

  it('two rolls without a place to spare: each makes room for its successor', async (t) => {
    await neighbours(slots - 2)
    await under(t, async () => {
      await roll(5)
      await settledAt(server, id, 2)
      await roll(4)
      await settledAt(server, id, 2)
    })
    const ended = (await eventsOf(server, id, 'replica.ended')).filter(
      ({ data }) => !/broken/.test(JSON.stringify(data)),
    )
    assert.deepEqual(ended, [], 'no engine ended by itself, but for the model that does not load')
  })

  it('the only replica rolled in place: requests wait meanwhile', async (t) => {
    await server.native.changeDeployment(id, { replicas: 1 })
    await settledAt(server, id, 1)
    await neighbours(slots - 1)
    await under(t, async () => {
      await roll(6)
      await settledAt(server, id, 1)
      await roll(5)
      await settledAt(server, id, 1)
    })
  })
})
