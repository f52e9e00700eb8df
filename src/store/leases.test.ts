/**
 * The loop protocol on a real Postgres. In the random run a trigger writes the history of every row, in the order in
 * which the row's lock was held; the invariants are checked on that history alone.
 */
import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { claim, type Lease, release, releaseMany, renew, wake, wakeMany, withLease } from './leases.ts'
import { type TestDatabase, testDatabase } from './testing.ts'

const start = Date.UTC(2026, 0, 1)
const leaseMs = 1_000

describe('leases', () => {
  let db: TestDatabase
  before(async () => {
    db = await testDatabase()
    await db.run(`insert into orgs (id, name, created_at) values ('org_a', 'a', $1)`, [new Date(start)])
  })
  after(() => db.close())
  beforeEach(() => db.run('delete from deployments'))

  const add = (id: string, nextAt: number | null) =>
    db.run(
      `insert into deployments (id, org_id, name, spec, desired, desired_replicas, revision, phase, created_at, updated_at, next_at)
       values ($1, 'org_a', $1, '{}', 'running', 1, 1, 'queued', $2, $2, $3)`,
      [id, new Date(start), nextAt === null ? null : new Date(nextAt)],
    )
  const claimAt = (now: number, limit = 10) => claim(db, { table: 'deployments', owner: 'test', now, leaseMs, limit })
  const nextAt = async (id: string) => {
    const [row] = await db.query<{ next_at: Date | null }>('select next_at from deployments where id = $1', [id])
    return row!.next_at?.getTime() ?? null
  }

  it('claims what is due, earliest first, and nothing else', async () => {
    await add('later', start + 10)
    await add('never', null)
    await add('second', start - 1)
    await add('first', start - 2)
    assert.deepEqual(
      (await claimAt(start, 1)).map(({ id }) => id),
      ['first'],
    )
    assert.deepEqual(
      (await claimAt(start)).map(({ id }) => id),
      ['second'],
    )
    assert.deepEqual(await claimAt(start), [])
    assert.deepEqual(
      (await claimAt(start + 10)).map(({ id }) => id),
      ['later'],
    )
  })

  it('ends many claims at once, each with its own time, and none that is not its own', async () => {
    for (const id of ['a', 'b', 'c', 'd']) await add(id, start)
    const leases = await claimAt(start)
    await wake(db, 'deployments', 'b', start + 5)
    await db.run(`update deployments set lease_token = 'another' where id = 'd'`)
    const times: Record<string, number | null> = { a: start + 20, b: start + 20, c: null, d: start + 20 }
    await releaseMany(
      db,
      leases.map((lease) => ({ lease, nextAt: times[lease.id]! })),
    )
    assert.deepEqual(
      [await nextAt('a'), await nextAt('b'), await nextAt('c'), await nextAt('d')],
      [start + 20, start + 5, null, null],
    )
    const held = await db.query<{ id: string }>('select id from deployments where lease_token is not null')
    assert.deepEqual(held, [{ id: 'd' }])
    await wakeMany(db, 'deployments', ['a', 'c'], start + 10)
    assert.deepEqual([await nextAt('a'), await nextAt('b'), await nextAt('c')], [start + 10, start + 5, start + 10])
    await releaseMany(db, [])
  })

  it('never loses a wake, whenever it comes', async () => {
    await add('d', start)
    const [first] = await claimAt(start)
    await wake(db, 'deployments', 'd', start + 1)
    assert.equal(await release(db, first!, null), true)
    assert.equal(await nextAt('d'), start + 1, 'during the work, due before the lease ends')

    const [second] = await claimAt(start + 1)
    await wake(db, 'deployments', 'd', start + 10 * leaseMs)
    await release(db, second!, start + 20 * leaseMs)
    assert.equal(
      await nextAt('d'),
      start + 10 * leaseMs,
      'during the work, due long after; earlier than the plan’s own',
    )
    await wake(db, 'deployments', 'd', start + 5 * leaseMs)
    await wake(db, 'deployments', 'd', start + 7 * leaseMs)
    assert.equal(await nextAt('d'), start + 5 * leaseMs, 'the earliest counts')

    const now = start + 5 * leaseMs
    await claimAt(now)
    await wake(db, 'deployments', 'd', start + 30 * leaseMs)
    const [third] = await claimAt(now + leaseMs)
    await release(db, third!, null)
    assert.equal(await nextAt('d'), start + 30 * leaseMs, 'during the work of a holder that died')
  })

  it('passes a dead holder’s row on, and the dead one writes nothing any more', async () => {
    await add('d', start)
    const [dead] = await claimAt(start)
    assert.deepEqual(await claimAt(start + leaseMs - 1), [])
    const [next] = await claimAt(start + leaseMs)
    assert.equal(next?.id, 'd')
    const apply = (lease: Lease, words: string) =>
      db.tx((tx) =>
        withLease(tx, lease, async () => {
          await tx.run('update deployments set plan_why = $2 where id = $1', [lease.id, JSON.stringify([words])])
        }),
      )
    assert.equal(await apply(dead!, 'stale'), false)
    assert.equal(await release(db, dead!, null), false)
    assert.equal(await renew(db, dead!, start + leaseMs, leaseMs), false)
    assert.equal(await apply(next!, 'fresh'), true)
    assert.deepEqual(await db.query('select plan_why, lease_token is not null as held from deployments'), [
      { plan_why: ['fresh'], held: true },
    ])
  })

  it('gives more time to who asks for it', async () => {
    await add('d', start)
    const [lease] = await claimAt(start)
    assert.equal(await renew(db, lease!, start + 900, leaseMs), true)
    assert.deepEqual(await claimAt(start + 1_500), [])
    assert.equal((await claimAt(start + 1_900)).length, 1)
  })

  it('holds in a random run of many claimers, wakers, deaths and slow holders', async () => {
    await recordHistory(db)
    const ids = Array.from({ length: 6 }, (_, index) => `row-${index}`)
    for (const id of ids) await add(id, start)
    const wakes = await randomRun(db, ids)
    const history = await db.query<Change>('select * from history order by seq')
    checkExclusion(history)
    checkWakes(history, wakes)
    assert.ok(history.filter(isClaim).length > 100, 'claims happened')
    assert.ok(history.filter((change) => isClaim(change) && change.old_token).length > 5, 'some from dead holders')
  })
})

interface Change {
  seq: number
  id: string
  old_token: string | null
  old_until: Date | null
  new_token: string | null
  new_until: Date | null
  plan_why: string[]
}

interface Wake {
  id: string
  at: number
  seq: number
}

async function recordHistory(db: TestDatabase): Promise<void> {
  await db.run(`
    create table history (seq bigserial primary key, id text, old_token text, old_until timestamptz, new_token text,
      new_until timestamptz, plan_why jsonb);
    create function record() returns trigger language plpgsql as $$ begin
      insert into history (id, old_token, old_until, new_token, new_until, plan_why)
      values (new.id, old.lease_token, old.lease_until, new.lease_token, new.lease_until, new.plan_why);
      return new;
    end $$;
    create trigger record before update on deployments for each row execute function record();`)
}

const isClaim = (change: Change) => change.new_token !== null && change.new_token !== change.old_token
const claimedAt = (change: Change) => change.new_until!.getTime() - leaseMs

/** A claim takes only rows that nobody holds or whose holder's time is over; only the holder applies. */
function checkExclusion(history: Change[]): void {
  for (const change of history) {
    if (isClaim(change) && change.old_token !== null)
      assert.ok(change.old_until!.getTime() <= claimedAt(change), `${change.id} was claimed while held`)
    const writer = change.plan_why.at(-1)
    if (writer !== undefined && change.plan_why.length > 1)
      assert.equal(writer, change.new_token, `${change.id} was written by someone who does not hold it`)
  }
}

/** After every wake a claim begins. (Once all have stopped, a last claimer looks at what is due after every wake's time.) */
function checkWakes(history: Change[], wakes: Wake[]): void {
  const lastClaim = new Map(history.filter(isClaim).map(({ id, seq }) => [id, seq]))
  for (const { id, at, seq } of wakes)
    assert.ok(lastClaim.get(id)! > seq, `a wake of ${id} at +${at - start} (history ${seq}) was lost`)
}

/** Time is a counter that every look moves on, sometimes by more than a lease. */
async function randomRun(db: TestDatabase, ids: string[]): Promise<Wake[]> {
  let now = start
  const tick = () => (now += Math.random() < 0.05 ? leaseMs : Math.ceil(Math.random() * 20))
  const wakes: Wake[] = []
  let waking = true
  const wakeOne = async () => {
    const id = ids[Math.floor(Math.random() * ids.length)]!
    const at = tick() + (Math.random() < 0.3 ? Math.floor(Math.random() * 5 * leaseMs) : 0)
    const seq = await db.tx(async (tx) => {
      await wake(tx, 'deployments', id, at)
      const [row] = await tx.query<{ seq: number }>('select max(seq) as seq from history where id = $1', [id])
      return row!.seq
    })
    wakes.push({ id, at, seq })
  }
  const work = async (lease: Lease) => {
    for (let i = Math.floor(Math.random() * 4); i > 0; i -= 1) await turn()
    if (Math.random() < 0.1) return // dies here
    await db.tx((tx) =>
      withLease(tx, lease, async () => {
        await tx.run('update deployments set plan_why = $2 where id = $1', [
          lease.id,
          JSON.stringify(['by', lease.token]),
        ])
        await tx.run(`update deployments set plan_why = '[]' where id = $1`, [lease.id])
        await release(tx, lease, Math.random() < 0.3 ? tick() + 500 : null)
      }),
    )
  }
  const worker = async () => {
    while (waking) {
      const limit = 1 + Math.floor(Math.random() * 3)
      const leases = await claim(db, { table: 'deployments', owner: 'w', now: tick(), leaseMs, limit })
      await Promise.all(leases.map(work))
    }
  }
  const waker = async () => {
    for (let round = 0; round < 100; round += 1) await wakeOne()
  }
  const workers = Promise.all(Array.from({ length: 5 }, worker))
  await Promise.all(Array.from({ length: 3 }, waker))
  waking = false
  await workers
  await drain(db, now + 10 * leaseMs)
  return wakes
}

/** Everybody has stopped: one last claimer looks until nothing is due; each row has had its last look by then. */
async function drain(db: TestDatabase, now: number): Promise<void> {
  for (let look = 0; ; look += 1) {
    const leases = await claim(db, { table: 'deployments', owner: 'last', now, leaseMs, limit: 100 })
    if (leases.length === 0) return
    assert.ok(look < 3, 'rows that nobody woke become due again')
    for (const lease of leases) await release(db, lease, null)
  }
}
