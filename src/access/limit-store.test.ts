/** Shares of limits in the real database. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type TestDatabase, testDatabase } from '../store/testing.ts'
import { countsLongerMs, type ShareAsk } from './limit-shares.ts'
import {
  endFormerShares,
  exchangeShares,
  forgetShares,
  leaveShares,
  releaseShares,
  wantedShares,
} from './limit-store.ts'

let db: TestDatabase
before(async () => {
  db = await testDatabase()
})
after(() => db.close())

const now = 1_800_000_000_000
const leaseMs = 900_000
const ask = (subject: string, limit: number, wants: number, floor = 0): ShareAsk => ({
  subject,
  requests: { limit, floor, wants },
  tokens: null,
})
const exchange = async (holder: string, asks: ShareAsk[], at = now) =>
  (await exchangeShares(db, holder, asks, { now: at, leaseMs })).map(({ requests, targetRequests }) => [
    requests,
    targetRequests,
  ])

test('what is held by others is not given away, and they hear that it is wanted', async () => {
  assert.deepEqual(await exchange('a/1', [ask('dep/x', 100, 80)]), [[80, 80]])
  assert.deepEqual(await exchange('b/1', [ask('dep/x', 100, 50)]), [[20, 50]])
  assert.deepEqual(await wantedShares(db, 'a/1', now), ['dep/x'])
  assert.deepEqual(await wantedShares(db, 'b/1', now), [])
  // a has used 30, and gives the rest back.
  assert.deepEqual(await exchange('a/1', [ask('dep/x', 100, 80, 30)]), [[50, 50]])
  assert.deepEqual(await exchange('b/1', [ask('dep/x', 100, 50, 20)]), [[50, 50]])
  assert.deepEqual(await wantedShares(db, 'a/1', now), [])
})

test('a share counts while it may be used, and a minute longer; then its row goes', async () => {
  await exchange('a/1', [ask('dep/dies', 10, 10)])
  const late = now + leaseMs + countsLongerMs
  assert.deepEqual(await exchange('b/1', [ask('dep/dies', 10, 10)], late - 1), [[0, 5]])
  assert.deepEqual(await exchange('b/1', [ask('dep/dies', 10, 10)], late), [[10, 10]])
  await forgetShares(db, late)
  const rows = await db.query<{ holder: string }>("select holder from limit_shares where subject = 'dep/dies'")
  assert.deepEqual(rows, [{ holder: 'b/1' }])
})

test('who leaves keeps what it has used for a minute, and frees the rest', async () => {
  await exchange('a/1', [ask('dep/leaves', 10, 10)])
  await leaveShares(db, 'a/1', new Map([['dep/leaves', { requests: 4, tokens: 0 }]]), now)
  assert.deepEqual(await exchange('b/1', [ask('dep/leaves', 10, 10)]), [[6, 10]])
  assert.deepEqual(await exchange('b/1', [ask('dep/leaves', 10, 10, 6)], now + countsLongerMs), [[10, 10]])
})

test('what an earlier process of the same name held counts a minute from the start of the next', async () => {
  await exchange('gw/1', [ask('dep/restart', 10, 10)])
  await exchange('gw-2/1', [ask('dep/other', 10, 10)])
  await endFormerShares(db, 'gw', 'gw/2', now)
  assert.deepEqual(await exchange('gw/2', [ask('dep/restart', 10, 10)]), [[0, 10]])
  assert.deepEqual(await exchange('gw/2', [ask('dep/restart', 10, 10)], now + countsLongerMs), [[10, 10]])
  const other = await exchange('gw/2', [ask('dep/other', 10, 10)], now + countsLongerMs)
  assert.deepEqual(other, [[0, 5]], 'gw-2 is somebody else')
})

test('what is not known any more is released', async () => {
  await exchange('a/1', [ask('dep/idle', 10, 10)])
  await releaseShares(db, 'a/1', ['dep/idle'])
  assert.deepEqual(await exchange('b/1', [ask('dep/idle', 10, 10)]), [[10, 10]])
})

test('many at once, in any order: nobody waits for ever, and all together hold no more than the limit', async () => {
  const subjects = Array.from({ length: 12 }, (_, i) => `key/${i}`)
  const holders = Array.from({ length: 6 }, (_, i) => `h${i}/1`)
  await Promise.all(
    holders.map(async (holder, i) => {
      const mine = i % 2 === 0 ? subjects : subjects.toReversed()
      for (let round = 0; round < 3; round++)
        await exchange(
          holder,
          mine.map((subject) => ask(subject, 7, 3)),
        )
    }),
  )
  const rows = await db.query<{ sum: string }>(
    "select sum(requests) as sum from limit_shares where subject like 'key/%' group by subject",
  )
  assert.equal(rows.length, 12)
  assert.ok(rows.every(({ sum }) => Number(sum) === 7))
})
