/** The reconciler on the real database and real processes: the local driver with a stand-in engine of its tests. */

import { strict as assert } from 'node:assert'
import { after, test } from 'node:test'
import { Access } from '../access/commands.ts'
import { Scaling } from '../autoscaling/commands.ts'
import type { ComputeDriver } from '../compute/contract.ts'
import { TestFleet } from '../compute/local/testing/fleet.ts'
import { Fault } from '../kernel/fault.ts'
import { Secret } from '../kernel/secret.ts'
import { loadCatalogue, starterModelId } from '../models/catalogue.ts'
import { loadHardware } from '../models/hardware.ts'
import { systemClock, until } from '../runtime/clock.ts'
import { silentLog } from '../runtime/log.ts'
import { Seal } from '../runtime/seal.ts'
import { packageRoot } from '../runtime/self.ts'
import { testDatabase } from '../store/testing.ts'
import { Deployments } from './commands.ts'
import { Lifecycle } from './lifecycle.ts'
import { DeploymentLoop } from './loop.ts'
import { routesSince } from './store.ts'
import { testLimits } from './testing/limits.ts'
import { quickSettings, standInEngine } from './testing/stand-in.ts'

const db = await testDatabase()
const fleet = new TestFleet({ cpuSlots: 3 })
const clock = systemClock
const seal = new Seal(new Secret('a secret of the test'))

/** What the stand-in engine is told; a test sets it before it creates. */
let flags: string[] = []
const engine = standInEngine(() => flags)

const parts = {
  db,
  clock,
  seal,
  log: silentLog,
  computes: new Map<string, ComputeDriver>([['local', fleet.local]]),
  engines: new Map([['llamacpp' as const, engine]]),
  models: loadCatalogue({ allowPaths: [packageRoot], starterStandsIn: false }),
  hardware: loadHardware({ cpu: '3.6' }),
}
const loop = new DeploymentLoop({ ...parts, settings: quickSettings, stopGraceSeconds: 1 }, 'test')
const context = { ...parts, ...testLimits, wake: () => loop.wake() }
const deployments = new Deployments(context)
const stop = new AbortController()
const running = loop.run(stop.signal)
after(async () => {
  stop.abort()
  await running
  await fleet.dispose()
  await db.close()
})

const access = new Access(db, seal, clock)
await access.ensureOperator('sk_operator_of_the_test')
const operator = await access.authenticate('Bearer sk_operator_of_the_test', undefined)
const wish = (name: string, over = {}) => ({ name, modelId: starterModelId, gpuType: 'cpu', ...over })

async function untilPhase(id: string, phase: string, withinMs = 15_000) {
  return until(clock, `${id} ${phase}`, withinMs, async () => {
    const view = await deployments.get(operator, id)
    return view.phase === phase ? view : null
  })
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    if (error instanceof Fault) return error.code
    throw error
  }
  return 'no fault'
}

test('created → serving → costs → deleted: nothing is left, the name is free, billing stops', async () => {
  flags = []
  const created = await deployments.create(operator, wish('one'), null)
  assert.equal(created.phase, 'starting')
  const serving = await untilPhase(created.id, 'serving')
  assert.equal(serving.readyReplicas, 1)
  assert.equal(serving.hourlyCost, 3_600_000n)
  const route = (await routesSince(db, 0)).find((r) => r.deploymentId === created.id)!
  assert.equal(route.replicas.length, 1)
  assert.equal(route.replicas[0]!.state, 'ready')
  await until(clock, 'cost', 3_000, async () => (await deployments.get(operator, created.id)).cost > 0n)
  assert.equal(await codeOf(deployments.create(operator, wish('one'), null)), 'name_taken')
  assert.equal(await codeOf(deployments.remove(operator, 'one', { onlyIfStopped: true })), 'conflict')
  const removed = await deployments.remove(operator, 'one', { onlyIfStopped: false })
  assert.equal(removed.phase, 'stopping')
  assert.equal((await routesSince(db, 0)).find((r) => r.deploymentId === created.id)!.removed, true)
  const gone = await untilPhase(created.id, 'deleted')
  assert.equal(gone.cost, removed.cost)
  assert.deepEqual(await fleet.local.list(), [])
  assert.equal((await deployments.remove(operator, created.id, { onlyIfStopped: false })).phase, 'deleted')
  const again = await deployments.create(operator, wish('one'), null)
  await deployments.remove(operator, again.id, { onlyIfStopped: false })
  await untilPhase(again.id, 'deleted')
})

test('an engine that keeps failing stops being started, says why with its last lines, and is never billed', async () => {
  flags = ['--crash-now', '--print-lines', '3', '--status', '7']
  const created = await deployments.create(operator, wish('broken'), null)
  const failed = await untilPhase(created.id, 'failed')
  assert.equal(failed.reason?.code, 'crash_loop')
  assert.match(failed.reason!.message, /7/)
  assert.equal(failed.cost, 0n)
  assert.equal(failed.hourlyCost, 0n)
  const { items } = await deployments.events(operator, created.id, { limit: 50 })
  const event = items.find((e) => e.type === 'deployment.failed')!
  assert.ok((event.data.last_lines as string[]).includes('line 3'))
  await until(clock, 'nothing left', 5_000, async () => (await fleet.local.list()).length === 0)
  await deployments.remove(operator, created.id, { onlyIfStopped: true })
  flags = []
})

test('short of hardware: queued with a reason, started as soon as something frees', async () => {
  const big = await deployments.create(operator, wish('big', { replicas: 3 }), null)
  await untilPhase(big.id, 'serving')
  const small = await deployments.create(operator, wish('small'), null)
  const queued = await untilPhase(small.id, 'queued')
  assert.equal(queued.reason?.code, 'capacity_short')
  assert.equal(queued.hourlyCost, 0n)
  await deployments.remove(operator, big.id, { onlyIfStopped: false })
  await untilPhase(small.id, 'serving')
  await deployments.remove(operator, small.id, { onlyIfStopped: false })
  await untilPhase(small.id, 'deleted')
})

test('an engine that dies is replaced; its interval ends at its death', async () => {
  const created = await deployments.create(operator, wish('phoenix'), null)
  await untilPhase(created.id, 'serving')
  const [first] = await deployments.replicas(operator, created.id)
  const [victim] = fleet.processes('engine', first!.id as `rep_${string}`)
  process.kill(victim!.identity.pid, 'SIGKILL')
  const died = Date.now()
  const replacement = await until(clock, 'a replacement', 15_000, async () =>
    (await deployments.replicas(operator, created.id)).find((r) => r.id !== first!.id && r.phase === 'ready'),
  )
  assert.ok(replacement)
  const old = (await deployments.replicas(operator, created.id)).find((r) => r.id === first!.id)!
  assert.equal(old.exit?.signal, 'SIGKILL')
  assert.ok(Math.abs(old.endedAt!.getTime() - died) < 2_000)
  await deployments.remove(operator, created.id, { onlyIfStopped: false })
  await untilPhase(created.id, 'deleted')
})

test('quota: GPUs are counted, cpu is not', async () => {
  const many = wish('many', { gpuType: 'h100', gpuCount: 4, replicas: 3 })
  assert.equal(await codeOf(deployments.create(operator, many, null)), 'quota_exceeded')
  assert.equal(
    await codeOf(deployments.create(operator, wish('x', { gpuType: 'h100', gpuCount: 3 }), null)),
    'gpu_count_unsupported',
  )
  assert.equal(await codeOf(deployments.create(operator, wish('x', { gpuType: 'h200' }), null)), 'price_not_set')
  assert.equal(await codeOf(deployments.create(operator, wish('x', { gpuType: 'tpu' }), null)), 'gpu_type_unknown')
  assert.equal(await codeOf(deployments.create(operator, wish('x', { modelId: 'gpt-9' }), null)), 'model_not_supported')
})

const lifecycle = new Lifecycle(context)

test('stop while starting, start again, stop, delete: each settles and is idempotent', async () => {
  const { id } = await deployments.create(operator, wish('pause'), null)
  await lifecycle.stop(operator, id)
  await untilPhase(id, 'stopped')
  await lifecycle.stop(operator, id)
  assert.equal((await deployments.get(operator, id)).hourlyCost, 0n)
  await lifecycle.start(operator, id)
  await untilPhase(id, 'serving')
  await lifecycle.start(operator, id)
  await lifecycle.stop(operator, id)
  const stopped = await untilPhase(id, 'stopped')
  assert.equal(stopped.reason?.code, 'stopped')
  await until(clock, 'nothing left', 5_000, async () => (await fleet.local.list()).length === 0)
  await deployments.remove(operator, id, { onlyIfStopped: true })
  await untilPhase(id, 'deleted')
})

test('a changed spec rolls without a gap; one that does not start goes back by itself and says why', async () => {
  const { id } = await deployments.create(operator, wish('roll'), null)
  await untilPhase(id, 'serving')
  const [first] = await deployments.replicas(operator, id)
  await lifecycle.change(operator, id, { engine: { maxNumSeqs: 2 } })
  const seen = new Set<number>()
  await until(clock, 'the second revision serves', 15_000, async () => {
    const view = await deployments.get(operator, id)
    seen.add(view.readyReplicas)
    return view.phase === 'serving' && view.revision === 2
  })
  assert.ok(!seen.has(0), 'a replica was ready at every moment')
  await until(clock, 'the old replica is gone', 5_000, async () =>
    (await deployments.replicas(operator, id)).some((r) => r.id === first!.id && r.endedAt !== null),
  )

  flags = ['--crash-now', '--print-lines', '2']
  await lifecycle.change(operator, id, { engine: { maxNumSeqs: 3 } })
  await until(clock, 'rolled back', 15_000, async () => (await deployments.get(operator, id)).revision === 2)
  flags = []
  const view = await untilPhase(id, 'serving')
  assert.equal(view.spec.engine.maxNumSeqs, 2)
  const revisions = await lifecycle.revisions(operator, id)
  assert.match(revisions.find((r) => r.number === 3)!.failedWhy!, /Revision 3 did not start/)
  const { items } = await deployments.events(operator, id, { limit: 100 })
  assert.ok(items.some((e) => e.type === 'revision.failed'))

  await lifecycle.rollback(operator, id, 1)
  await until(clock, 'the first spec serves again', 15_000, async () => {
    const now = await deployments.get(operator, id)
    return now.phase === 'serving' && now.revision === 4 && now.spec.engine.maxNumSeqs === undefined
  })
  await lifecycle.change(operator, id, {})
  assert.equal((await deployments.get(operator, id)).revision, 4)
  await deployments.remove(operator, id, { onlyIfStopped: false })
  await untilPhase(id, 'deleted')
})

test('without spare hardware a roll goes in place, and nobody else takes the place meanwhile', async () => {
  const full = await deployments.create(operator, wish('full', { replicas: 3 }), null)
  await untilPhase(full.id, 'serving')
  const waiting = await deployments.create(operator, wish('waiting'), null)
  await untilPhase(waiting.id, 'queued')
  await lifecycle.change(operator, full.id, { engine: { maxNumSeqs: 2 } })
  await until(clock, 'rolled in place', 25_000, async () => {
    const view = await deployments.get(operator, full.id)
    return view.phase === 'serving' && view.revision === 2 && view.readyReplicas === 3
  })
  assert.equal((await deployments.get(operator, waiting.id)).phase, 'queued')
  for (const { id } of [full, waiting]) await deployments.remove(operator, id, { onlyIfStopped: false })
  await untilPhase(waiting.id, 'deleted')
  await untilPhase(full.id, 'deleted')
})

const scaling = new Scaling(context)

test('asleep nothing runs and nothing is billed; awake again it serves; limits add and take replicas', async () => {
  const { id } = await deployments.create(operator, wish('nap', { scaling: { maxReplicas: 3 } }), null)
  const serving = await untilPhase(id, 'serving')
  assert.equal(serving.hourlyCostMax, 3n * serving.hourlyCost)
  await scaling.sleep(operator, id)
  await until(clock, 'its hardware is free', 10_000, async () => (await fleet.local.list()).length === 0)
  const asleep = await untilPhase(id, 'asleep')
  assert.deepEqual([asleep.readyReplicas, asleep.desiredReplicas, asleep.hourlyCost], [0, 0, 0n])
  await lifecycle.change(operator, id, { engine: { maxNumSeqs: 2 } })
  const still = await untilPhase(id, 'asleep')
  assert.deepEqual([still.revision, still.cost], [2, asleep.cost], 'a changed spec does not wake it')

  await Promise.all([scaling.wake(operator, id), scaling.wake(operator, id), scaling.wake(operator, id)])
  const awake = await untilPhase(id, 'serving')
  assert.deepEqual([awake.readyReplicas, awake.spec.engine.maxNumSeqs], [1, 2])
  const since = (await deployments.replicas(operator, id)).filter((one) => one.revision === 2)
  assert.equal(since.length, 1, 'one start however many woke it')

  await scaling.change(operator, id, { minReplicas: 3 })
  await until(clock, 'three are ready', 15_000, async () => (await deployments.get(operator, id)).readyReplicas === 3)
  await scaling.change(operator, id, { minReplicas: 1, maxReplicas: 1 })
  await until(clock, 'one is left', 15_000, async () => (await fleet.local.list()).length === 1)
  const { items } = await scaling.decisions(operator, id, { limit: 50 })
  assert.deepEqual(
    items.map(({ from, to, cause }) => [from, to, cause]),
    [
      [3, 1, 'limits'],
      [1, 3, 'limits'],
      [0, 1, 'wake'],
      [1, 0, 'sleep'],
    ],
  )
  await deployments.remove(operator, id, { onlyIfStopped: false })
  await untilPhase(id, 'deleted')
})

test('put to sleep while it starts: nothing stays behind, and the wake that follows is served', async () => {
  const { id } = await deployments.create(operator, wish('early'), null)
  await scaling.sleep(operator, id)
  await untilPhase(id, 'asleep')
  await until(clock, 'nothing left', 10_000, async () => (await fleet.local.list()).length === 0)
  await scaling.wake(operator, id)
  await untilPhase(id, 'serving')
  await lifecycle.stop(operator, id)
  await untilPhase(id, 'stopped')
  assert.equal(await codeOf(scaling.wake(operator, id)), 'conflict')
  await deployments.remove(operator, id, { onlyIfStopped: true })
  await untilPhase(id, 'deleted')
})
