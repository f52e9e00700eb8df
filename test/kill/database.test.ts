/** SIGKILL of the embedded Postgres in mid-query: the server recovers by itself, and no acknowledged write is lost. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import pg from 'pg'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { signalProcess } from '../../src/runtime/processes.ts'
import { type Server, startServer } from '../e2e/harness.ts'
import { Place } from '../e2e/place.ts'
import { type OwnProcess, procOnly } from '../e2e/processes.ts'
import { Talk } from './talk.ts'
import { Writers } from './writers.ts'

const chat = { model: 'steady', messages: [{ role: 'user' as const, content: 'Hello' }], max_tokens: 2 }

describe('SIGKILL of', { skip: procOnly }, () => {
  const place = new Place()
  const writers = new Writers(systemClock.now())
  let server: Server
  let engine: OwnProcess

  before(async () => {
    // What the writers deploy beside it mostly waits for hardware.
    server = await startServer(place, { env: { PADDOCK_COMPUTE_LOCAL_CPU_SLOTS: '2' } })
    await server.deploy('steady')
    await server.active('steady')
    engine = place.process('engine')
  })
  after(async () => {
    try {
      await server?.stop()
    } finally {
      await place.remove()
    }
  })

  async function recovers(victim: () => OwnProcess, gatewayLives = true): Promise<void> {
    const talk = new Talk(server.openai(), 'steady')
    const writing = writers.write(server, 3)
    const busy = await makeBusy(place)
    try {
      await someMoreWrites('writes are acknowledged')
      assert.ok(signalProcess(victim(), 'SIGKILL'))
      const answers = () => server.native.listDeployments().then(Boolean, () => false)
      await until(systemClock, 'the API answers again', 60_000, answers)
      await someMoreWrites('writes are acknowledged again')
    } finally {
      await Promise.all([writing.end(), busy.end(), talk.end()])
    }
    await writers.verify(server)
    if (gatewayLives) assert.deepEqual(talk.failures, [], 'inference needs no database')
    assert.equal((await server.openai().chat.completions.create(chat)).object, 'chat.completion')
    assert.ok(
      place.processes('engine').some(({ pid }) => pid === engine.pid),
      'the engine is untouched',
    )
    assert.equal(place.processes('postmaster').length, 1)
  }

  async function someMoreWrites(what: string): Promise<void> {
    const before = writers.acknowledged
    await until(systemClock, what, 60_000, () => writers.acknowledged > before + 5)
  }

  it('the postmaster in mid-query', async () => {
    for (let round = 0; round < 3; round++) await recovers(() => place.process('postmaster'))
  })

  it('a backend in mid-query', async () => {
    await recovers(() => place.processes('backend').find(({ command }) => /paddock paddock/.test(command))!)
  })

  it('the postmaster and control together', async () => {
    await recovers(() => {
      signalProcess(place.process('control'), 'SIGKILL')
      return place.process('postmaster')
    })
  })

  it('the postmaster and the gateway together', async () => {
    await recovers(() => {
      signalProcess(place.process('gateway'), 'SIGKILL')
      return place.process('postmaster')
    }, false)
  })
})

/** Two sessions in mid-query: one waits, one computes and looks at nothing. */
async function makeBusy(place: Place): Promise<{ end: () => Promise<void> }> {
  const password = readFileSync(join(place.dataFolder, 'postgres-password'), 'utf8').trim()
  const connection = { host: socketFolder(place), port: 5432, user: 'paddock', database: 'paddock', password }
  const clients = ['select pg_sleep(1000)', 'do $$ begin loop end loop; end $$'].map((query) => {
    const client = new pg.Client(connection)
    client.on('error', () => {})
    return { client, query }
  })
  for (const { client, query } of clients) {
    await client.connect()
    void client.query(query).catch(() => {})
  }
  return {
    end: async () => {
      await Promise.all(clients.map(({ client }) => client.end().catch(() => {})))
    },
  }
}

/** Where the running Postgres has its socket, from its own command line. */
function socketFolder(place: Place): string {
  const words = readFileSync(`/proc/${place.process('postmaster').pid}/cmdline`, 'utf8').split('\0')
  return words.flatMap((word) => /^unix_socket_directories="(.*)"$/.exec(word)?.[1] ?? [])[0]!
}
