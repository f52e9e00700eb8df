/**
 * Readers of the log on the real database, while transactions write, commit late, out of order or not at all: every
 * event that was committed is read once, by every reader in the same order. A reader that goes by `seq` alone is caught.
 */
import { strict as assert } from 'node:assert'
import { after, test } from 'node:test'
import fc from 'fast-check'
import type { Querier, Tx } from '../store/database.ts'
import { testDatabase } from '../store/testing.ts'
import { beforeAllEvents, cursorOf, type EventPosition, endOfEvents, followEvents, readEvents } from './cursor.ts'
import { record } from './store.ts'

// How far a reader may go depends on the transactions of the whole server.
const db = await testDatabase({ ownServer: true })
after(() => db.close())

const writers = 4
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('write' as const), who: fc.nat(writers - 1) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('commit' as const), who: fc.nat(writers - 1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('undo' as const), who: fc.nat(writers - 1) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('read' as const), who: fc.nat(1) }) },
)
const steps = fc.array(step, { minLength: 10, maxLength: 40, size: 'max' })
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

/** A transaction that is told from outside when to write and how to end. */
class Writer {
  readonly #events: string[] = []
  readonly #over: Promise<void>
  #tx: Promise<Tx>
  #end!: (how: 'commit' | 'undo') => void

  constructor() {
    const ending = new Promise<'commit' | 'undo'>((end) => (this.#end = end))
    let begun!: (tx: Tx) => void
    this.#tx = new Promise((done) => (begun = done))
    this.#over = db.tx(async (tx) => {
      begun(tx)
      if ((await ending) === 'undo') throw new Error('undone')
    })
  }

  async write(name: string): Promise<void> {
    const data = { key_id: name, by: 'test' }
    await record(await this.#tx, { orgId: 'org_test', deploymentId: null, type: 'key.revoked', data, at: new Date() })
    this.#events.push(name)
  }

  /** The events that exist now. */
  async end(how: 'commit' | 'undo'): Promise<string[]> {
    this.#end(how)
    await this.#over.catch((error: Error) => assert.equal(error.message, 'undone'))
    return how === 'commit' ? this.#events : []
  }
}

type Read = (
  querier: Querier,
  after: EventPosition,
  limit: number,
) => Promise<{ data: Record<string, unknown>; position: EventPosition }[]>

/** Runs the steps; two readers of different appetite go on where they were. Throws when one missed or repeated something. */
async function run(steps: Step[], read: Read): Promise<void> {
  const start = await endOfEvents(db)
  const open = new Map<number, Writer>()
  const committed: string[] = []
  const readers = [2, 100].map((limit) => ({ limit, at: start, seen: [] as string[] }))
  const look = async (reader: (typeof readers)[number]) => {
    const events = await read(db, reader.at, reader.limit)
    reader.seen.push(...events.map(({ data }) => String(data.key_id)))
    reader.at = events.at(-1)?.position ?? reader.at
    return events.length
  }
  try {
    for (const [index, { do: action, who }] of steps.entries()) {
      if (action === 'read') await look(readers[who]!)
      if (action === 'write') {
        if (!open.has(who)) open.set(who, new Writer())
        await open.get(who)!.write(`${index}`)
      }
      if (action !== 'commit' && action !== 'undo') continue
      committed.push(...((await open.get(who)?.end(action)) ?? []))
      open.delete(who)
    }
  } finally {
    for (const writer of open.values()) committed.push(...(await writer.end('commit')))
  }
  for (const reader of readers) while ((await look(reader)) > 0);
  const [a, b] = readers.map(({ seen }) => seen)
  assert.deepEqual(a!.toSorted(), committed.toSorted(), 'each once')
  assert.deepEqual(a, b, 'the same order for everybody')
}

const numRuns = Number(process.env.RUNS ?? 60)
const property = (read: Read) =>
  fc.assert(
    fc.asyncProperty(steps, (taken) => run(taken, read)),
    { numRuns, endOnFailure: true },
  )

test('whatever commits when: every event once, in one order', () => property(readEvents))

const planted: Record<string, Read> = {
  'goes by seq alone': (querier, { seq }, limit) =>
    querier
      .query<{ seq: number; data: Record<string, unknown> }>(
        'select seq, data from events where seq > $1 order by seq limit $2',
        [seq === Number.MAX_SAFE_INTEGER ? firstSeq : seq, limit],
      )
      .then((rows) => rows.map((row) => ({ ...row, position: { xid: '0', seq: row.seq } }))),
  'does not wait for those who still write': async (querier, { xid, seq }, limit) => {
    const rows = await querier.query<{ seq: number; xid: string; data: Record<string, unknown> }>(
      `select seq, xid::text as xid, data from events where (xid, seq) > ($1::xid8, $2::bigint)
       order by events.xid, seq limit $3`,
      [xid, seq, limit],
    )
    return rows.map((row) => ({ ...row, position: { xid: row.xid, seq: row.seq } }))
  },
}
let firstSeq = 0

for (const [name, read] of Object.entries(planted))
  test(`planted bug is found: a reader that ${name}`, async () => {
    await assert.rejects(
      fc.assert(
        fc.asyncProperty(steps, async (taken) => {
          firstSeq = (await db.query<{ seq: number }>('select coalesce(max(seq), 0) as seq from events'))[0]!.seq
          await run(taken, read)
        }),
        { numRuns: 200, endOnFailure: true },
      ),
      (error: Error) => /each once|same order/.test((error.cause as Error).message),
    )
  })

test('a named reader moves with what it writes: undone together, done once, also by two at a time', async () => {
  await db.run('create table told (id text primary key)')
  const writer = new Writer()
  for (const name of ['one', 'two', 'three']) await writer.write(`named-${name}`)
  await writer.end('commit')
  const all = await readEvents(db, beforeAllEvents, 10_000)
  const follow = (limit: number, fails = false) =>
    followEvents(db, { name: 'telling', limit, now: Date.now(), from: 'oldest' }, async (tx, events) => {
      for (const { id } of events) await tx.query('insert into told (id) values ($1)', [id])
      if (fails) throw new Error('it died')
    })
  await assert.rejects(follow(5, true), /it died/)
  assert.equal(await cursorOf(db, 'telling'), null)
  for (let more = true; more; ) more = (await Promise.all([follow(7), follow(7), follow(7)])).some((n) => n > 0)
  const told = await db.query<{ id: string }>('select id from told')
  assert.deepEqual(told.map(({ id }) => id).toSorted(), all.map(({ id }) => id).toSorted())
  assert.deepEqual(await cursorOf(db, 'telling'), all.at(-1)!.position)

  const later = { name: 'later', limit: 10, now: Date.now(), from: 'newest' as const }
  const seen: string[] = []
  const note = async (_tx: Tx, events: { data: Record<string, unknown> }[]) =>
    void seen.push(...events.map(({ data }) => String(data.key_id)))
  assert.equal(await followEvents(db, later, note), 0)
  const next = new Writer()
  await next.write('after')
  await next.end('commit')
  assert.equal(await followEvents(db, later, note), 1)
  assert.deepEqual(seen, ['after'])
})

test('the log is appended to and nothing else, and holds what the catalogue says', async () => {
  for (const sql of ["update events set type = 'x'", 'delete from events', 'truncate events'])
    await assert.rejects(db.run(sql), /events are only ever appended/)
  const wrong = { orgId: 'org_test', deploymentId: null, at: new Date() }
  const data = { key_id: 'key_1', by: 'test', secret: 'sk_1' }
  await assert.rejects(
    db.tx((tx) => record(tx, { ...wrong, type: 'key.revoked', data })),
    /not as the catalogue says: .*secret/,
  )
  const type = 'key.stolen' as 'key.revoked'
  await assert.rejects(
    db.tx((tx) => record(tx, { ...wrong, type, data: { key_id: 'key_1', by: 'test' } })),
    /no event "key.stolen"/,
  )
})
