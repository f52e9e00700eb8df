/** Replicas that fall silent, starts that fail: what is routed, replaced, kept and given up. Real database and turns. */
import { strict as assert } from 'node:assert'
import { after, beforeEach, test } from 'node:test'
import { openWorkshop, type Seen } from './testing/workshop.ts'

const workshop = await openWorkshop(3, { brakeAfter: 4 })
after(() => workshop.close())
const { machines, clock, deployments, lifecycle, scaling, operator } = workshop

beforeEach(() => {
  Object.assign(machines, { slots: 3, next: 'ready', reachable: true })
})

const isServing = ({ row }: Seen) => row.phase === 'serving'
const staying = ({ replicas }: Seen) => replicas.filter(({ phase }) => ['planned', 'starting', 'ready'].includes(phase))
const routed = ({ route }: Seen) => route.replicas.filter(({ state }) => state === 'ready').map(({ id }) => id)
/** Passes time with turns now and then. */
async function pass(id: string, seconds: number): Promise<Seen> {
  for (let step = 0; step < 20; step += 1) {
    clock.pass(seconds * 50)
    await workshop.takeTurns()
  }
  return workshop.look(id)
}
/** The watcher asks for a turn. */
const notice = (id: string) =>
  workshop.db.run('update deployments set next_at = $2 where id = $1', [id, new Date(clock.now())])
const remove = async (id: string) => {
  await deployments.remove(operator, id, { onlyIfStopped: false })
  await workshop.untilSo(id, ({ row }) => row.phase === 'deleted')
}

test('silent: out of the routes at once, its successor first, then it goes; its silence is not billed', async () => {
  const id = await workshop.make('silent')
  const [first] = (await workshop.untilSo(id, isServing)).replicas
  clock.pass(3_600_000 - (clock.now() - first!.ready_at!.getTime()))
  machines.next = 'loading'
  await machines.say(first!.id, 'silent')
  const silentAt = clock.now()
  await notice(id)
  const noticed = await workshop.untilSo(id, ({ row }) => row.phase === 'degraded', 1)
  assert.deepEqual([noticed.row.reason?.code, noticed.row.ready_replicas], ['unresponsive', 0])
  assert.deepEqual(routed(noticed), [])
  assert.equal(noticed.route.replicas.length, 1, 'what it has in flight may finish')
  assert.equal(staying(await pass(id, 25)).length, 1, 'it may come back')

  const both = await workshop.untilSo(id, (seen) => staying(seen).length === 2, 10)
  const successor = staying(both).find((one) => one.id !== first!.id)!
  assert.equal(successor.after_replica, null, 'on hardware of its own')
  assert.ok(machines.all.has(first!.id), 'it is kept until the other answers')
  assert.equal((await deployments.get(operator, id)).cost, 3_600_000n, 'the silence costs nothing')
  await machines.say(successor.id, 'ready')
  const over = await workshop.untilSo(id, (seen) => isServing(seen) && !machines.all.has(first!.id), 10)
  assert.deepEqual(routed(over), [successor.id])
  const gone = over.replicas.find((one) => one.id === first!.id)!
  assert.deepEqual([gone.ended_at?.getTime(), gone.exit?.at], [silentAt, silentAt])
  assert.match(gone.exit!.why, /answered no probe for 3\d s/)
  await remove(id)
})

test('it answers again before its successor does: the one that was starting goes', async () => {
  const id = await workshop.make('back')
  const [first] = (await workshop.untilSo(id, isServing)).replicas
  machines.next = 'loading'
  await machines.say(first!.id, 'silent')
  await notice(id)
  await workshop.untilSo(id, (seen) => staying(seen).length === 2, 40)
  await machines.say(first!.id, 'ready')
  const seen = await workshop.untilSo(id, (now) => isServing(now) && machines.all.size === 1, 10)
  assert.deepEqual(routed(seen), [first!.id])
  assert.deepEqual(
    staying(seen).map((one) => one.id),
    [first!.id],
  )
  await remove(id)
})

test('no spare place: it is replaced where it is, and nobody who waits takes the place, not even when starts fail', async () => {
  machines.slots = 1
  const id = await workshop.make('only')
  const [first] = (await workshop.untilSo(id, isServing)).replicas
  const waiting = await workshop.make('waiting')
  await workshop.untilSo(waiting, ({ row }) => row.phase === 'queued')
  machines.next = 'crash'
  await machines.say(first!.id, 'silent')
  await notice(id)
  await workshop.untilSo(id, ({ row }) => row.starts.failed === 2, 60)
  machines.next = 'ready'
  const again = await workshop.untilSo(id, isServing, 30)
  assert.equal((await workshop.look(waiting)).row.phase, 'queued')
  const [ready] = routed(again)
  const chain = again.replicas.filter((one) => one.after_replica !== null)
  assert.equal(chain.length, 3, 'each start took the place of the one before it')
  assert.ok(chain.some((one) => one.id === ready))
  await remove(id)
  await workshop.untilSo(waiting, isServing)
  await remove(waiting)
})

test('neither engine nor provider can be asked: nothing is taken away', async () => {
  machines.slots = 1
  const id = await workshop.make('cut-off')
  const [first] = (await workshop.untilSo(id, isServing)).replicas
  await machines.say(first!.id, 'silent')
  await notice(id)
  await workshop.untilSo(id, ({ row }) => row.phase === 'degraded', 1)
  machines.reachable = false
  const seen = await pass(id, 120)
  assert.deepEqual([staying(seen).length, seen.row.starts.failed], [1, 0])
  machines.reachable = true
  await machines.say(first!.id, 'ready')
  assert.deepEqual(routed(await workshop.untilSo(id, isServing, 5)), [first!.id])
  await remove(id)
})

test('starts that fail: ever longer pauses, then it is given up with the last lines and without a bill, until it is started', async () => {
  machines.next = 'crash'
  const begun = machines.created
  const id = await workshop.make('broken')
  const starts: number[] = []
  const failed = await workshop.untilSo(id, ({ row }) => {
    if (row.starts.failed > starts.length) starts.push(row.starts.lastAt)
    return row.phase === 'failed'
  })
  const pauses = starts.slice(1).map((at, index) => at - starts[index]!)
  assert.equal(pauses.length, 3)
  for (const [index, pause] of pauses.entries())
    assert.ok(pause >= 2_000 * 2 ** index && pause < 2_500 * 2 ** index, `${pauses}`)
  assert.equal(failed.row.reason?.code, 'crash_loop')
  assert.match(failed.row.reason!.message, /4 starts in a row failed; last: The engine ended with status 1/)
  const { items } = await deployments.events(operator, id, { limit: 50, type: 'deployment.failed' })
  assert.deepEqual(items[0]!.data.last_lines, ['out of memory'])
  assert.equal((await pass(id, 3_600)).row.phase, 'failed')
  assert.equal(machines.created - begun, 4)
  const view = await deployments.get(operator, id)
  assert.deepEqual([view.cost, view.hourlyCost], [0n, 0n])

  await lifecycle.change(operator, id, { engine: { maxNumSeqs: 2 } })
  const changed = await pass(id, 60)
  assert.deepEqual([changed.row.phase, machines.created - begun], ['failed', 4], 'other settings alone start nothing')
  machines.next = 'ready'
  await lifecycle.start(operator, id)
  assert.equal((await workshop.look(id)).row.phase, 'starting')
  const started = await workshop.untilSo(id, isServing, 5)
  assert.deepEqual([started.row.starts.failed, started.row.revision], [0, 2])
  await remove(id)
})

test('a replica beside others that does not start takes none of them down, nor the revision that works', async () => {
  const id = await workshop.make('grows', { engine: { maxNumSeqs: 2 } })
  await workshop.untilSo(id, isServing)
  await lifecycle.change(operator, id, { engine: { maxNumSeqs: 3 } })
  const [serving] = routed(await workshop.untilSo(id, (seen) => isServing(seen) && machines.all.size === 1))
  machines.next = 'crash'
  await scaling.change(operator, id, { minReplicas: 2, maxReplicas: 2 })
  const seen = await workshop.untilSo(id, ({ row }) => row.starts.failed > 6, 3_600)
  assert.deepEqual([seen.row.phase, seen.row.reason?.code, seen.row.revision], ['degraded', 'start_failed', 2])
  assert.deepEqual(routed(seen), [serving])

  machines.kill(serving!, 'killed')
  await notice(id)
  const failed = await workshop.untilSo(id, ({ row }) => row.phase === 'failed', 600)
  const own = failed.replicas.find((one) => one.id === serving)!
  const after = failed.replicas.filter((one) => one.created_at >= own.ended_at!)
  assert.ok(after.length >= 1, 'another start is tried before it is given up')
  machines.next = 'ready'
  await lifecycle.restart(operator, id)
  await workshop.untilSo(id, (now) => isServing(now) && now.row.ready_replicas === 2, 10)
  await remove(id)
})

test('it becomes ready and soon dies, again and again: pauses, given up, nothing billed after; one that stays forgives', async () => {
  const settings = Object.assign(workshop.world.settings, { stableMs: 60_000 })
  try {
    const begun = machines.created
    const id = await workshop.make('brief')
    for (let death = 1; death <= 4; death += 1) {
      const serving = await workshop.untilSo(id, isServing, 60)
      clock.pass(3_000)
      machines.kill(routed(serving)[0]!, 'segmentation fault')
      await notice(id)
      const { row } = await workshop.untilSo(id, ({ row }) => row.starts.failed === death, 1)
      assert.deepEqual(
        [row.phase, row.reason?.code],
        death < 4 ? ['starting', 'start_failed'] : ['failed', 'crash_loop'],
      )
    }
    const failed = await pass(id, 3_600)
    assert.deepEqual([failed.row.phase, machines.created - begun, machines.all.size], ['failed', 4, 0])
    assert.match(failed.row.reason!.message, /4 starts in a row failed; last: It was ready for 3 s\. /)
    const { cost } = await deployments.get(operator, id)
    assert.equal((await pass(id, 3_600)).row.phase, 'failed')
    assert.equal((await deployments.get(operator, id)).cost, cost)

    // Changed and stopped while it is given up: the new settings were never tried, and are not given up for that.
    await lifecycle.change(operator, id, { engine: { maxNumSeqs: 2 } })
    await lifecycle.stop(operator, id)
    const stopped = await workshop.untilSo(id, ({ row }) => row.phase === 'stopped', 5)
    assert.equal(stopped.row.revision, 2)
    await lifecycle.start(operator, id)
    const [brief] = routed(await workshop.untilSo(id, isServing, 10))
    machines.kill(brief!, 'segmentation fault')
    await notice(id)
    await workshop.untilSo(id, (seen) => isServing(seen) && seen.row.starts.failed === 1, 10)
    assert.equal((await pass(id, 50)).row.starts.failed, 1)
    assert.equal((await workshop.untilSo(id, ({ row }) => row.starts.failed === 0, 20)).row.phase, 'serving')
    await remove(id)
  } finally {
    settings.stableMs = 0
  }
})
