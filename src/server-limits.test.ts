/** Two real gateways share one limit through the real database; then it goes away. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Limits } from './access/limits.ts'
import { MockEngine, replicaOf, routeOf, startBench } from './gateway/testing.ts'
import { systemClock, until } from './runtime/clock.ts'
import { silentLog } from './runtime/log.ts'
import { ShareKeeper } from './server-limits.ts'
import { testDatabase } from './store/testing.ts'

const none: Limits = { rpm: null, tpm: null, concurrency: null }
const ends: (() => Promise<unknown>)[] = []
after(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

test('two gateways let in what the limit says, whichever is asked; each one more at most when nobody answers', async () => {
  const db = await testDatabase()
  ends.push(() => db.close())
  const engine = await new MockEngine().listen()
  ends.push(() => engine.close())
  const rpm = 12
  const route = routeOf({ replicas: [replicaOf(engine.port)], limits: { ...none, rpm } })
  const start = async (id: string) => {
    const shares = new ShareKeeper({ db, id, leaseSeconds: 900, clock: systemClock, log: silentLog })
    const bench = await startBench({ routes: [route], shares })
    const stop = new AbortController()
    const run = shares.run(bench.gateway.limiter, stop.signal)
    const end = async () => {
      stop.abort()
      await run
      await bench.gateway.close({ drainMs: 0 })
    }
    return { bench, end }
  }
  const [a, b] = [await start('gw-a'), await start('gw-b')]
  ends.push(b.end)
  const burst = async (of: typeof a, count: number) => {
    const answers = await Promise.all(Array.from({ length: count }, () => of.bench.chat({})))
    return answers.filter(({ status }) => status === 200).length
  }
  const first = await burst(a, 5)
  assert.equal(first, 5, 'nobody is refused before the limit is reached')
  const second = await burst(b, 9)
  const third = await burst(a, 9)
  const all = first + second + third
  assert.ok(all >= rpm - 1 && all <= rpm + 2, `${first} + ${second} + ${third}`)
  // Whoever ends gives back what it has not used.
  await a.end()
  const rows = await db.query<{ requests: string }>("select requests from limit_shares where holder like 'gw-a/%'")
  assert.deepEqual(
    rows.map(({ requests }) => Number(requests)),
    [first + third],
  )
  await until(systemClock, 'all are settled', 5_000, () => engine.asked.length === all)
})
