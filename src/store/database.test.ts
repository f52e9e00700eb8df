import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Fault } from '../kernel/fault.ts'
import { systemClock, until } from '../runtime/clock.ts'
import { type Database, json, openDatabase, violates } from './database.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded.ts'
import { closeGraceMs, maxWaiting } from './pool.ts'
import { testFolders } from './testing.ts'

const unavailable = (message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof Fault, String(error))
  assert.equal(error.code, 'unavailable')
  assert.match(error.message, message)
  return true
}

/** `statement`: one that no other test uses, since another's may still be asleep when it is over. */
async function untilSleeping(db: Database, count: number, statement = 'select pg_sleep%'): Promise<void> {
  await until(systemClock, `${count} sleep`, 5_000, async () => {
    const [row] = await db.query<{ n: number }>(
      `select count(*)::int as n from pg_stat_activity
       where datname = current_database() and state = 'active' and query like $1`,
      [statement],
    )
    return row?.n === count
  })
}

const folders = testFolders()
const start = () => startEmbeddedPostgres({ ...folders, durable: false })
let postgres: EmbeddedPostgres
before(async () => {
  postgres = await start()
})
after(async () => {
  await postgres.stop()
  folders.remove()
})

describe('database', () => {
  let db: Database
  before(async () => {
    db = openDatabase({ connection: postgres.connection })
    await db.run('create table things (id int primary key, n int8 not null default 0, check (n >= 0))')
    await db.run('insert into things (id) select generate_series(1, 10)')
  })
  after(() => db.close())

  it('gives times as Date, int8 as exact numbers, jsonb as values', async () => {
    const at = new Date(1_795_223_343_123)
    const [row] = await db.query(
      'select $1::timestamptz as at, 9007199254740991::int8 as big, $2::jsonb as doc, 1.10::numeric as exact, null as nothing',
      [at, json([1, { a: 'é' }])],
    )
    assert.deepEqual(row, { at, big: 9007199254740991, doc: [1, { a: 'é' }], exact: '1.10', nothing: null })
    await assert.rejects(db.query('select 9007199254740992::int8'), /beyond 2\^53/)
    assert.deepEqual(await db.query('select 1 as still'), [{ still: 1 }])
  })

  it('commits whole transactions or none, and counts rows', async () => {
    assert.equal(await db.tx((tx) => tx.run('update things set n = 1 where id <= 3')), 3)
    await assert.rejects(
      db.tx(async (tx) => {
        await tx.run('update things set n = 99')
        throw new Error('no')
      }),
      /^Error: no$/,
    )
    const refused = db.tx(async (tx) => {
      await tx.run('update things set n = 98')
      await tx.run('update things set n = -1').catch((error) => assert.ok(violates(error, 'things_n_check')))
    })
    await assert.rejects(refused, /undone/)
    assert.deepEqual(await db.query('select distinct n from things order by n'), [{ n: 0 }, { n: 1 }])
    let leaked: { run(sql: string): Promise<number> } | undefined
    await db.tx(async (tx) => void (leaked = tx))
    await assert.rejects(leaked!.run('delete from things'), /is over/)
  })

  it('repeats transactions that others were in the way of: none of 60 additions is lost', async () => {
    await db.run('update things set n = 0')
    const add = () =>
      db.tx(
        async (tx) => {
          const [row] = await tx.query<{ n: number }>('select n from things where id = 1')
          await tx.run('update things set n = $1 where id = 1', [row!.n + 1])
        },
        { isolation: 'serializable' },
      )
    let refused = 0
    const adder = async () => {
      for (let done = 0; done < 15; ) {
        try {
          await add()
          done += 1
        } catch (error) {
          unavailable(/gave way/)(error)
          refused += 1
        }
      }
    }
    await Promise.all(Array.from({ length: 4 }, adder))
    assert.deepEqual(
      await db.query('select n from things where id = 1'),
      [{ n: 60 }],
      `${refused} refused and tried again`,
    )
  })

  it('repeats a transaction that a deadlock ended', async () => {
    let runs = 0
    const both = (first: number, second: number) =>
      db.tx(async (tx) => {
        runs += 1
        await tx.run('update things set n = n + 1 where id = $1', [first])
        await tx.query('select pg_sleep(0.1)')
        await tx.run('update things set n = n + 1 where id = $1', [second])
      })
    await db.run('update things set n = 0')
    await Promise.all([both(5, 6), both(6, 5)])
    assert.equal(runs, 3)
    assert.deepEqual(await db.query('select sum(n)::int as n from things'), [{ n: 4 }])
  })

  it('ends a statement that takes too long', async () => {
    const hasty = openDatabase({ connection: postgres.connection, statementTimeoutMs: 50, poolSize: 1 })
    await assert.rejects(hasty.query('select pg_sleep(5)'), unavailable(/took too long/))
    assert.deepEqual(await hasty.query('select 1 as n'), [{ n: 1 }])
    await hasty.close()
  })

  it('bounds who waits for a connection, and cuts what runs at the close', async () => {
    const small = openDatabase({ connection: postgres.connection, poolSize: 1 })
    const running = assert.rejects(small.query('select pg_sleep(60)'), unavailable(/cannot be reached/))
    await untilSleeping(db, 1)
    for (let i = 0; i < maxWaiting; i += 1) void small.query('select 1').catch(() => {})
    await assert.rejects(small.query('select 1'), unavailable(/Too many/))
    const before = performance.now()
    const closed = small.close()
    await running
    await closed
    assert.ok(performance.now() - before < closeGraceMs + 1_000)
    await assert.rejects(small.query('select 1'), unavailable(/being closed/))
  })

  it('tells listeners, a failing one too, until they end', async () => {
    const heard: string[] = []
    const stop = db.listen('news "x"', (payload) => heard.push(payload))
    db.listen('news "x"', () => {
      throw new Error('mine')
    })
    await until(systemClock, 'listening', 5_000, () => heard.length === 1)
    await db.tx((tx) => tx.query(`select pg_notify('news "x"', 'a')`))
    await until(systemClock, 'told', 5_000, () => heard.length === 2)
    assert.deepEqual(heard, ['', 'a'])
    stop()
    let other = 0
    db.listen('news "x"', () => (other += 1))
    await until(systemClock, 'heard at once', 5_000, () => other === 1)
    await db.query(`select pg_notify('news "x"', 'b')`)
    await until(systemClock, 'told', 5_000, () => other === 2)
    assert.deepEqual(heard, ['', 'a'])
  })
})

describe('a Postgres that dies', () => {
  let db: Database
  before(async () => {
    // Slower machines than ours must not end the sleeping statement before the kill does.
    db = openDatabase({ connection: postgres.connection, reconnectWithinMs: 30_000, statementTimeoutMs: 120_000 })
    await db.run('create table marks (n int)')
  })
  after(() => db.close())

  it('fails what runs, repeats transactions, and is found again with its listeners', async () => {
    let heard = 0
    db.listen('marks', () => (heard += 1))
    await until(systemClock, 'listening', 5_000, () => heard === 1)
    const statement = assert.rejects(db.query('select pg_sleep(61)'), unavailable(/cannot be reached/))
    let runs = 0
    const transaction = db.tx(async (tx) => {
      runs += 1
      await tx.run('insert into marks values (1)')
      if (runs === 1) await tx.query('select pg_sleep(61)')
    })
    await untilSleeping(db, 2, 'select pg_sleep(61)')
    process.kill(postgres.identity.pid, 'SIGKILL')
    await postgres.exited
    postgres = await start()
    await Promise.all([statement, transaction])
    assert.equal(runs, 2)
    assert.deepEqual(await db.query('select count(*)::int as n from marks'), [{ n: 1 }])
    await until(systemClock, 'listening again', 5_000, () => heard === 2)
    await db.query(`select pg_notify('marks', '')`)
    await until(systemClock, 'told', 5_000, () => heard === 3)
  })

  it('says so when it stays away', async () => {
    const impatient = openDatabase({ connection: postgres.connection, reconnectWithinMs: 100 })
    await postgres.stop()
    await assert.rejects(impatient.query('select 1'), unavailable(/cannot be reached/))
    await assert.rejects(
      impatient.tx((tx) => tx.query('select 1')),
      unavailable(/cannot be reached/),
    )
    await impatient.close()
  })
})
