/** SIGKILL of the embedded Postgres in mid-query: the server recovers by itself, and no acknowledged write is lost. */
// test timeout: 120 s
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

describe('SIGKILL of', { skip: procOnly }, () => {
  const place = new Place()
  const writers = new Writers(systemClock.now())
  let server: Server
  let engine: OwnProcess

  before(async () => {
    server = await startServer(place)
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

  async function recovers(victim: () => OwnProcess): Promise<void> {
    const talk = new Talk(server.openai(), 'steady')
    const writing = writers.write(server, 3)
    const busy = await makeBusy(place)
    await until(systemClock, 'some writes', 10_000, () => writers.acknowledged > busy.acknowledgedBefore(writers) + 5)
    assert.ok(signalProcess(victim(), 'SIGKILL'))
    await until(systemClock, 'the API answers again', 20_000, () =>
      server.native.listDeployments().then(
        () => true,
        () => false,
      ),
    )
    const acknowledged = writers.acknowledged
    await until(systemClock, 'writes are acknowledged again', 15_000, () => writers.acknowledged > acknowledged + 5)
    await writing.end()
    await busy.end()
    await writers.verify(server)
    assert.deepEqual(await talk.end(), [], 'inference needs no database')
    assert.equal(place.process('engine').pid, engine.pid)
    assert.equal(place.processes('postmaster').length, 1)
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
})

/** Two sessions in mid-query: one waits, one computes and looks at nothing. */
async function makeBusy(place: Place) {
  const connection = {
    host: join(place.dataFolder, 'run'),
    port: 5432,
    user: 'paddock',
    database: 'paddock',
    password: readFileSync(join(place.dataFolder, 'postgres-password'), 'utf8').trim(),
  }
  const clients = [new pg.Client(connection), new pg.Client(connection)]
  const queries = ['select pg_sleep(1000)', 'do $$ begin loop end loop; end $$']
  for (const [index, client] of clients.entries()) {
    client.on('error', () => {})
    await client.connect()
    void client.query(queries[index]!).catch(() => {})
  }
  let before: number | null = null
  return {
    acknowledgedBefore: (writers: Writers) => (before ??= writers.acknowledged),
    end: async () => {
      for (const client of clients) await client.end().catch(() => {})
    },
  }
}
