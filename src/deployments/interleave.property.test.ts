/**
 * Whatever people ask at whatever moment of a turn: from the moment their call returns, nobody sees a phase or a route
 * that belongs to the wish before it; and all of it comes to rest as the last of them said.
 */
import { strict as assert } from 'node:assert'
import { after, test } from 'node:test'
import fc from 'fast-check'
import type { Phase } from '../kernel/phase.ts'
import type { DeploymentRow } from './store.ts'
import type { Moment } from './testing/machines.ts'
import { openWorkshop } from './testing/workshop.ts'

const workshop = await openWorkshop(6)
after(() => workshop.close())
const { machines, lifecycle, scaling, operator } = workshop

const commands = {
  stop: (id: string) => lifecycle.stop(operator, id),
  start: (id: string) => lifecycle.start(operator, id),
  restart: (id: string) => lifecycle.restart(operator, id),
  sleep: (id: string) => scaling.sleep(operator, id),
  wake: (id: string) => scaling.wake(operator, id),
  roll: (id: string) => lifecycle.change(operator, id, { engine: { maxNumSeqs: 1 + (machines.created % 8) } }),
  two: (id: string) => scaling.change(operator, id, { minReplicas: 2, maxReplicas: 2 }),
  one: (id: string) => scaling.change(operator, id, { minReplicas: 1, maxReplicas: 1 }),
} satisfies Record<string, (id: string) => Promise<unknown>>
type Command = keyof typeof commands

const moments: Moment[] = ['offers', 'observe', 'record', 'create', 'delete']
const step = fc.record({
  moment: fc.constantFrom(...moments),
  command: fc.constantFrom(...(Object.keys(commands) as Command[])),
  passMs: fc.constantFrom(0, 50, 1_000, 5_000),
})

/** Phases in which a deployment with this wish may be seen. */
function allowed(row: Pick<DeploymentRow, 'desired' | 'desired_replicas'>): readonly Phase[] {
  if (row.desired === 'stopped') return ['stopping', 'stopped']
  if (row.desired === 'deleted') return ['stopping', 'deleted']
  if (row.desired_replicas === 0) return ['asleep']
  return ['queued', 'starting', 'serving', 'scaling', 'rolling', 'degraded', 'waking']
}

function fits(row: DeploymentRow, told: string): void {
  const may = allowed(row)
  assert.ok(may.includes(row.phase), `${told}: ${row.phase}, not ${may.join(' or ')}`)
}

let made = 0

test('a command at any moment of a turn: its word stands from then on, and is what it comes to', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (steps) => {
      const id = await workshop.make(`any-${(made += 1)}`)
      for (const { moment, command, passMs } of steps) {
        machines.meanwhile.set(moment, async () => {
          await commands[command](id).catch(() => {})
          fits((await workshop.look(id)).row, `as ${command} returned`)
        })
        await workshop.takeTurns()
        const { row, route } = await workshop.look(id)
        fits(row, `after a turn with ${command} at ${moment}`)
        if (row.desired === 'stopped') assert.ok(['stopping', 'stopped'].includes(route.phase), `route ${route.phase}`)
        workshop.clock.pass(passMs)
      }
      machines.meanwhile.clear()
      const seen = await workshop.untilSo(id, ({ row }) =>
        row.desired === 'stopped'
          ? row.phase === 'stopped'
          : row.desired_replicas === 0
            ? row.phase === 'asleep'
            : row.phase === 'serving' && row.ready_replicas === row.desired_replicas,
      )
      const newest = seen.row.revision
      const wanted = seen.row.desired === 'running' ? seen.row.desired_replicas : 0
      const ready = seen.replicas.filter((one) => one.phase === 'ready')
      assert.equal(ready.length, wanted, `machines at rest at revision ${newest}`)
      machines.meanwhile.set('record', () => workshop.deployments.remove(operator, id, { onlyIfStopped: false }))
      await workshop.db.run('update deployments set next_at = $2 where id = $1', [id, new Date(workshop.clock.now())])
      const gone = await workshop.untilSo(id, ({ row, route }) => {
        assert.equal(route.removed, row.desired === 'deleted')
        return row.phase === 'deleted'
      })
      const left = gone.replicas.filter((one) => machines.all.has(one.id))
      assert.deepEqual(left, [])
    }),
    { numRuns: Number(process.env.RUNS ?? 40) },
  )
})
