/** What a stopped deployment says, whoever stopped it; with real turns, and what the gateways are told. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { reasonTable } from '../kernel/phase.ts'
import { silentLog } from '../runtime/log.ts'
import { CalendarLoop } from './calendar-loop.ts'
import { stopCauses, stoppedBecause, stoppingBecause } from './stopped.ts'
import { openWorkshop } from './testing/workshop.ts'

const shop = await openWorkshop(4)
after(() => shop.close())
const calendar = new CalendarLoop({ ...shop.context, log: silentLog })
const hourMs = 3_600_000
const at = (hours: number) => new Date(shop.clock.now() + hours * hourMs)
const window = (from: number, to: number) => ({
  timezone: 'UTC',
  windows: [
    { from: at(from).toISOString().slice(11, 16), to: at(to).toISOString().slice(11, 16), action: 'stop' as const },
  ],
})
async function pass(hours: number): Promise<void> {
  shop.clock.pass(hours * hourMs)
  await calendar.tick()
}

test('stopped by its schedule: until when; started by it; stopped by a person within: theirs', async () => {
  const id = await shop.make('nights', { schedule: window(1, 3) })
  await shop.untilSo(id, ({ row }) => row.phase === 'serving')
  await pass(1)
  const stopped = await shop.untilSo(id, ({ row }) => row.phase === 'stopped')
  assert.equal(stopped.row.reason?.code, 'stopped_by_schedule')
  assert.match(stopped.row.reason!.message, /^Its schedule stopped it until 2026-11-21T12:00:00\.000Z\.$/)
  assert.deepEqual([stopped.route.phase, stopped.route.reason], ['stopped', stopped.row.reason])
  assert.ok(stopped.replicas.every((replica) => replica.phase === 'gone'))
  await shop.lifecycle.stop(shop.operator, id)
  const theirs = await shop.untilSo(id, ({ row }) => row.reason?.code === 'stopped')
  assert.equal(theirs.row.stopped_by, 'person')
  await shop.lifecycle.start(shop.operator, id)
  await pass(2)
  await shop.untilSo(id, ({ row }) => row.phase === 'serving' && row.reason === null)
  await shop.deployments.remove(shop.operator, id, { onlyIfStopped: false })
})

test('its lease over: expired, and nothing runs any more', async () => {
  const id = await shop.make('lent', { expiresAt: at(2) })
  await shop.untilSo(id, ({ row }) => row.phase === 'serving')
  await pass(2)
  const ended = await shop.untilSo(id, ({ row }) => row.phase === 'stopped')
  assert.equal(ended.row.reason?.code, 'expired')
  assert.match(ended.row.reason!.message, /lease has ended/)
  const serving = ended.replicas.filter((replica) => replica.ended_at === null)
  assert.deepEqual(serving, [], 'billing ended with it')
  assert.equal((await shop.deployments.get(shop.operator, id)).hourlyCost, 0n)
})

test('stopped while it still starts, or waits for hardware', async () => {
  shop.machines.next = 'loading'
  const starting = await shop.make('starting', { schedule: window(1, 2) })
  await shop.untilSo(starting, ({ replicas }) => replicas.some((replica) => replica.phase === 'starting'))
  const waiting = await shop.make('waiting', { replicas: 4, schedule: window(1, 2) })
  await pass(1)
  for (const id of [starting, waiting]) {
    const { row } = await shop.untilSo(id, ({ row }) => row.phase === 'stopped')
    assert.equal(row.reason?.code, 'stopped_by_schedule')
  }
  shop.machines.next = 'ready'
  await shop.deployments.remove(shop.operator, waiting, { onlyIfStopped: true })
  await pass(1)
  await shop.untilSo(starting, ({ row }) => row.phase === 'serving')
  await shop.deployments.remove(shop.operator, starting, { onlyIfStopped: false })
})

test('every cause has a code of the table and a sentence, on its way and there', () => {
  for (const by of stopCauses) {
    const [code, message = reasonTable[code].message] = stoppedBecause({ by, until: null, refused: null })
    const given: readonly string[] = reasonTable[code].phases
    assert.ok(given.includes('stopped'), code)
    assert.match(message, /\.$/)
    assert.match(stoppingBecause(by), /^It is being stopped.*\.$/)
  }
  const refused = stoppedBecause({ by: 'schedule', until: 0, refused: 'This needs 6 GPUs.' })
  assert.deepEqual(refused, ['stopped_by_schedule', 'Its schedule would start it again, but: This needs 6 GPUs.'])
})
