/**
 * For tests of the reconciler: the real database and the real turns, on machines that do what the test says, by a clock
 * that the test moves. Nothing here waits: a turn is taken when the test takes it.
 */

import { Access } from '../../access/commands.ts'
import { Scaling } from '../../autoscaling/commands.ts'
import type { ComputeDriver } from '../../compute/contract.ts'
import { embedded } from '../../engines/llamacpp/embedded.ts'
import { availableEngines } from '../../engines/registry.ts'
import { Secret } from '../../kernel/secret.ts'
import { loadCatalogue, starterModelId } from '../../models/catalogue.ts'
import { loadHardware } from '../../models/hardware.ts'
import { silentLog } from '../../runtime/log.ts'
import { Seal } from '../../runtime/seal.ts'
import { packageRoot } from '../../runtime/self.ts'
import { claim, wakeMany } from '../../store/leases.ts'
import { type TestDatabase, testDatabase } from '../../store/testing.ts'
import { Deployments } from '../commands.ts'
import type { DeploymentContext } from '../context.ts'
import { Lifecycle } from '../lifecycle.ts'
import type { PlanSettings } from '../situation.ts'
import * as store from '../store.ts'
import { type TurnWorld, turn } from '../turn.ts'
import { testLimits } from './limits.ts'
import { HandClock, Machines } from './machines.ts'

export const testSettings: PlanSettings = {
  startDeadlineMs: 600_000,
  brakeAfter: 5,
  rollbackAfter: 2,
  backoffMs: 2_000,
  backoffMaximumMs: 300_000,
  unresponsiveMs: 30_000,
  drainDeadlineMs: 600_000,
}

export interface Workshop {
  db: TestDatabase
  clock: HandClock
  machines: Machines
  world: TurnWorld
  /** What the use cases stand on. */
  context: DeploymentContext
  deployments: Deployments
  lifecycle: Lifecycle
  scaling: Scaling
  operator: Awaited<ReturnType<Access['authenticate']>>
  /** One turn for each that is due now, one after the other; how many there were. */
  takeTurns(): Promise<number>
  /** Takes turns and lets time pass between them until `done`; throws with what it says of itself after `seconds`. */
  untilSo(id: string, done: (seen: Seen) => boolean, seconds?: number): Promise<Seen>
  look(id: string): Promise<Seen>
  make(name: string, over?: object): Promise<string>
  close(): Promise<void>
}

export interface Seen {
  row: store.DeploymentRow
  replicas: store.ReplicaRow[]
  route: NonNullable<Awaited<ReturnType<typeof store.routeOf>>>
}

const stepMs = 250

function makeWorld(
  db: TestDatabase,
  clock: HandClock,
  machines: Machines,
  settings: Partial<PlanSettings>,
  follow: TurnWorld['follow'],
): TurnWorld {
  return {
    // Turns open a transaction to record what they decided.
    db: { ...db, tx: (fn, options) => machines.reach('record').then(() => db.tx(fn, options)) },
    clock,
    seal: new Seal(new Secret('a secret of the test')),
    log: silentLog,
    computes: new Map<string, ComputeDriver>([['test', machines]]),
    engines: availableEngines(),
    models: loadCatalogue({ allowPaths: [packageRoot], starterStandsIn: false }),
    hardware: loadHardware({ cpu: '3.6' }),
    settings: { ...testSettings, ...settings },
    stopGraceSeconds: 1,
    // What the watcher would have heard a moment ago.
    recall: (id) => machines.heard(id, embedded),
    follow,
    due: () => {},
  }
}

/** Collects the deployments whose replicas were handed to the watcher as started. */
function noteStarts(begun: Set<string>): TurnWorld['follow'] {
  const known = new Set<string>()
  return (id, replicas) => {
    for (const { view } of replicas) {
      if (view.phase === 'starting' && !known.has(view.id)) begun.add(id)
      known.add(view.id)
    }
  }
}

export async function openWorkshop(slots: number, settings: Partial<PlanSettings> = {}): Promise<Workshop> {
  const db = await testDatabase()
  const clock = new HandClock()
  const machines = new Machines(slots, clock)
  const begun = new Set<string>()
  const world = makeWorld(db, clock, machines, settings, noteStarts(begun))
  const context: DeploymentContext = { ...world, ...testLimits, db, wake: () => {} }
  const access = new Access(db, world.seal, clock)
  await access.ensureOperator('sk_operator_of_the_test')
  const operator = await access.authenticate('Bearer sk_operator_of_the_test', undefined)
  const deployments = new Deployments(context)

  async function takeTurns(): Promise<number> {
    // As the watcher does, which looks at what was started at once.
    await wakeMany(db, 'deployments', [...begun], clock.now())
    begun.clear()
    const leases = await claim(db, {
      table: 'deployments',
      owner: 'test',
      now: clock.now(),
      leaseMs: 60_000,
      limit: 10,
    })
    for (const lease of leases) await turn(world, lease)
    return leases.length
  }

  async function look(id: string): Promise<Seen> {
    const row = (await store.deploymentById(db, id))!
    return { row, replicas: await store.replicasOf(db, [id], 100), route: (await store.routeOf(db, id))! }
  }

  async function untilSo(id: string, done: (seen: Seen) => boolean, seconds = 60): Promise<Seen> {
    for (const end = clock.now() + seconds * 1000; ; clock.pass(stepMs)) {
      await takeTurns()
      const seen = await look(id)
      if (done(seen)) return seen
      if (clock.now() < end) continue
      const { phase, plan_why, starts } = seen.row
      const said = { phase, plan_why, starts, replicas: seen.replicas.map((r) => [r.id, r.phase, r.exit?.why]) }
      throw new Error(`not within ${seconds} s: ${JSON.stringify(said)}`)
    }
  }

  return {
    db,
    clock,
    machines,
    world,
    context,
    deployments,
    lifecycle: new Lifecycle(context),
    scaling: new Scaling(context),
    operator,
    takeTurns,
    untilSo,
    look,
    make: async (name, over = {}) => {
      const wish = { name, modelId: starterModelId, gpuType: 'cpu', ...over }
      return (await deployments.create(operator, wish, null)).id
    },
    close: async () => {
      await machines.close()
      await db.close()
    },
  }
}
