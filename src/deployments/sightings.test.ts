/** A machine that vanished while nobody looked is paid for until it was last seen. Real database and turns. */
import { strict as assert } from 'node:assert'
import { after, test } from 'node:test'
import { systemClock, until } from '../runtime/clock.ts'
import { noteSightings } from './sightings.ts'
import { openWorkshop } from './testing/workshop.ts'
import { Watcher } from './watch.ts'

const workshop = await openWorkshop(2)
after(() => workshop.close())
const { machines, clock, deployments, operator, db, world } = workshop

const rowOf = async (id: string) => (await workshop.look(id)).replicas[0]!
const notice = (id: string) => db.run('update deployments set next_at = $2 where id = $1', [id, new Date(clock.now())])

test('vanished while control was away: billed to the last sighting that was written down', async () => {
  const id = await workshop.make('vanishes')
  const serving = await workshop.untilSo(id, ({ row }) => row.phase === 'serving')
  const [replica] = serving.replicas
  const readyAt = replica!.ready_at!.getTime()
  const watcher = new Watcher(world, async () => {})
  const view = { ...serving.replicas[0]!, phase: 'ready' as const, unhealthySince: null }
  watcher.follow(id, [{ view: view as never, provider: 'test', engine: 'llamacpp' }])
  assert.deepEqual(watcher.sighted(), [], 'not seen yet')
  const stop = new AbortController()
  const noting = noteSightings({ db, clock, log: world.log }, watcher, stop.signal)
  clock.pass(600_000 - (clock.now() - readyAt))
  await watcher.look()
  assert.equal(watcher.lastSeen(replica!.id), clock.now())
  const seenAt = clock.now()
  await until(systemClock, 'it is written down', 20_000, async () => {
    clock.pass(5_000)
    return (await rowOf(id)).seen_at?.getTime() === seenAt
  })
  stop.abort()
  await noting

  clock.pass(3_600_000)
  machines.all.get(replica!.id)!.server!.close()
  machines.all.delete(replica!.id)
  await notice(id)
  await workshop.untilSo(
    id,
    ({ replicas }) => replicas.some((one) => one.id === replica!.id && one.ended_at !== null),
    5,
  )
  const gone = (await workshop.look(id)).replicas.find((one) => one.id === replica!.id)!
  assert.deepEqual([gone.ended_at!.getTime(), gone.exit?.at], [seenAt, seenAt])
  assert.match(gone.exit!.why, /no longer knows it/)
  await deployments.remove(operator, id, { onlyIfStopped: false })
})

test('never seen since it was ready: billed for nothing that nobody can vouch for', async () => {
  const id = await workshop.make('unseen')
  const [replica] = (await workshop.untilSo(id, ({ row }) => row.phase === 'serving')).replicas
  clock.pass(3_600_000)
  machines.all.get(replica!.id)!.server!.close()
  machines.all.delete(replica!.id)
  await notice(id)
  await workshop.untilSo(
    id,
    ({ replicas }) => replicas.some((one) => one.id === replica!.id && one.ended_at !== null),
    5,
  )
  const gone = (await workshop.look(id)).replicas.find((one) => one.id === replica!.id)!
  assert.equal(gone.ended_at!.getTime(), gone.ready_at!.getTime())
  await deployments.remove(operator, id, { onlyIfStopped: false })
})
