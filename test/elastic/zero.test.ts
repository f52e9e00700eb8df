/**
 * Zero and back on real engines: whoever asks a deployment that sleeps, falls asleep or wakes is answered, with one start.
 * Asked at once: 500. Rounds of requests around the moment of going to sleep: 6; with FULL=1: 60.
 */
// test timeout: 600 s
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { systemClock, until } from '../../src/runtime/clock.ts'
import type { Server } from '../e2e/harness.ts'
import { Place } from '../e2e/place.ts'
import { procOnly } from '../e2e/processes.ts'
import { Random } from '../paper/random.ts'
import { Clients, kinds } from './load.ts'
import { asleepAndGone, enginesOf, eventsOf, isFull, longMs, startElastic, starts } from './world.ts'

const atOnce = 500
const rounds = isFull ? 60 : 6
/** Around the moment of going to sleep, from before it until after everything is gone. */
const aroundMs = 600

describe('zero and back', { skip: procOnly }, () => {
  const place = new Place()
  let server: Server
  let clients: Clients

  before(async () => {
    server = await startElastic(place, { args: ['--fleet', 'emulated'], env: { PADDOCK_HOLD_COMMENT_SECONDS: '0.1' } })
    clients = new Clients(server)
  })
  after(async () => {
    await clients?.close()
    try {
      await server?.stop()
    } finally {
      await place.remove()
    }
  })

  /** May sleep, wakes to one, on hardware that has a price. */
  async function sleeper(name: string, idleSeconds = 3_600): Promise<string> {
    const engine = { max_num_seqs: 12 }
    const scaling = { min_replicas: 0, max_replicas: 4, idle_timeout_seconds: idleSeconds }
    const { id } = await server.deploy(name, { gpu_type: 'h100', scaling, engine })
    await server.active(id, longMs)
    return id
  }

  it(`${atOnce} requests at once to one that sleeps: all answered, one start`, async (t) => {
    const id = await sleeper('crowd')
    await server.native.sleepDeployment(id)
    await asleepAndGone(server, id)
    const before = await starts(server, id)
    const answers = await clients.burst(atOnce, (i) => ({ model: id, tokens: 8 + (i % 9), stream: i % 2 === 0 }))
    assert.deepEqual(kinds(answers), { whole: atOnce })
    assert.equal((await starts(server, id)) - before, 1)
    const heard = answers.filter(({ comments }) => comments > 0).length
    assert.ok(heard >= atOnce / 4, `${heard} of ${atOnce / 2} streams heard that they wait`)
    t.diagnostic(`the last of ${atOnce} was answered after ${Math.round(Math.max(...answers.map(({ ms }) => ms)))} ms`)
    await server.native.deleteDeployment(id)
  })

  it('sleep with streams in flight lets them finish first; both ways are idempotent', async () => {
    const id = await sleeper('polite')
    const before = await starts(server, id)
    const streams = clients.burst(12, () => ({ model: id, tokens: 400, stream: true }))
    await until(systemClock, 'they are all under way', longMs, () => clients.flowingNow === 12, 5)
    for (let i = 0; i < 2; i++) {
      const { phase, desired_replicas } = await server.native.sleepDeployment(id)
      assert.deepEqual([phase, desired_replicas], ['asleep', 0])
    }
    assert.deepEqual(kinds(await streams), { whole: 12 })
    await asleepAndGone(server, id)
    const woken = await Promise.all(Array.from({ length: 5 }, () => server.native.wakeDeployment(id)))
    assert.ok(woken.every(({ desired_replicas }) => desired_replicas === 1))
    await server.active(id, longMs)
    await server.when(id, 'serves', ({ phase }) => phase === 'serving', longMs)
    await server.native.wakeDeployment(id)
    assert.equal((await starts(server, id)) - before, 1)
    await server.native.deleteDeployment(id)
  })

  it('idle: the hardware is released and nothing is paid for, until somebody asks', async () => {
    const id = await sleeper('idle', 1)
    await clients.ask({ model: id, tokens: 8, stream: true })
    await asleepAndGone(server, id)
    assert.deepEqual(await enginesOf(server, id), [])
    const asleep = await server.native.getDeployment(id)
    assert.equal(asleep.hourly_cost_usd, 0)
    assert.ok(asleep.cost_usd > 0)
    assert.deepEqual([asleep.status, asleep.reason?.code], ['active', 'asleep'])
    // At this price the sixth decimal moves about every millisecond.
    await systemClock.sleep(300)
    assert.equal((await server.native.getDeployment(id)).cost_usd, asleep.cost_usd)
    assert.equal((await clients.ask({ model: id, tokens: 8, stream: false })).kind, 'whole')
    const awake = await server.native.getDeployment(id)
    assert.ok(awake.cost_usd > asleep.cost_usd, 'it is paid for again')
    await server.native.deleteDeployment(id)
  })

  it(`requests at any moment around going to sleep: all answered (${rounds} rounds, asked to and by itself)`, async (t) => {
    const told = await sleeper('told')
    const alone = await sleeper('alone', 0)
    const seed = Number(process.env.SEED ?? systemClock.now() % 100_000)
    t.diagnostic(`SEED=${seed}`)
    const random = new Random(seed)
    const ask = async (model: string, atMs: number) => {
      await systemClock.sleep(atMs)
      return clients.ask({ model, tokens: 8, stream: random.chance(0.5) })
    }
    const answers = []
    for (let round = 0; round < rounds; round++) {
      const moments = Array.from({ length: 6 }, () => random.float() * aroundMs)
      const asked = moments.map((ms, i) => ask(i < 4 ? told : alone, ms))
      await systemClock.sleep(random.float() * aroundMs * 0.5)
      await server.native.sleepDeployment(told)
      answers.push(...(await Promise.all(asked)))
    }
    assert.deepEqual(kinds(answers), { whole: rounds * 6 })
    const slept = (await eventsOf(server, alone, 'deployment.scaled')).filter(({ data }) => data.to === 0).length
    t.diagnostic(
      `slept by itself ${slept} times, ${await starts(server, told)} and ${await starts(server, alone)} starts`,
    )
    assert.ok(slept > 0)
  })
})
