/**
 * One turn of the reconciler for one deployment: load → decide → record the intent → act → apply. The process may die
 * between any two of these; the next turn, by whoever, continues from what is. Everything written is guarded by the
 * lease's token: a turn that lost its lease writes nothing.
 */
import type { ModelCatalogue } from '../models/catalogue.ts'
import type { HardwareCatalogue } from '../models/hardware.ts'
import type { Log } from '../runtime/log.ts'
import { type Lease, release, wakeMany } from '../store/leases.ts'
import { act, applyOutcomes } from './act.ts'
import { recordIntent } from './intent.ts'
import { type Market, queueFor, readMarket, wakeNext } from './offers.ts'
import { type Plan, plan } from './plan.ts'
import { sameRoute } from './publish.ts'
import type { Claim } from './queue.ts'
import { engineOf, type Snapshot, takeSnapshots, type World } from './snapshot.ts'
import { emulatedOf, routeFor, sameVerdict } from './verdict.ts'
import type { Followed } from './watch.ts'

export interface TurnWorld extends World {
  models: ModelCatalogue
  hardware: HardwareCatalogue
  stopGraceSeconds: number
  log: Log
  /** Tells the watcher how the deployment's replicas are now. */
  follow(deploymentId: string, replicas: Followed[]): void
  /** Tells the loop when one that was released is looked at next, ms since epoch; null = only when woken. */
  due(at: number | null): void
}

/** A deployment with what was decided for it. */
export interface Decided {
  snapshot: Snapshot
  result: Plan
}

export async function turn(world: TurnWorld, lease: Lease): Promise<void> {
  const snapshot = (await takeSnapshots(world, [lease.id])).get(lease.id)
  if (snapshot === undefined) await release(world.db, lease, null)
  else await takeTurn(world, lease, await decide(world, snapshot, () => readMarket(world)))
}

/**
 * Asks what hardware is free, and who waits for it, only where that matters: to start something, or to say what will be
 * started.
 */
export async function decide(
  { hardware }: Pick<World, 'hardware'>,
  snapshot: Snapshot,
  market: () => Promise<Market>,
): Promise<Decided> {
  const result = plan(snapshot.input)
  const serves = snapshot.replicas.some(({ phase }) => phase === 'ready' || phase === 'draining')
  if (serves && !result.asksHardware) return { snapshot, result }
  const seen = await market()
  const { id, spec, waiting } = snapshot.deployment
  const queue = queueFor(seen, hardware, { id, hardware: spec.hardware, waiting })
  const input = { ...snapshot.input, offers: seen.offers, queue }
  return { snapshot: { ...snapshot, input }, result: plan(input) }
}

/** From the decision on: record the intent → act → apply. */
export async function takeTurn(world: TurnWorld, lease: Lease, { snapshot, result }: Decided): Promise<void> {
  const recorded = await recordIntent(world, lease, snapshot, result)
  if (recorded === null) return world.due(snapshot.input.now)
  const watched = followed({ snapshot, result })
  world.follow(lease.id, watched)
  await wakeOthers(world, snapshot, result)
  const asked = result.actions.filter((action) => action.do === 'create' || action.do === 'delete')
  const calls = [...recorded.created, ...asked]
  if (calls.length === 0) return world.due(recorded.nextAt)
  const outcomes = await act(world, snapshot, calls)
  const started = await applyOutcomes(world, lease, snapshot, { outcomes, nextAt: recorded.nextAt })
  if (started.length > 0) world.follow(lease.id, [...watched, ...started])
  if (outcomes.some(({ result }) => result === 'refused')) await wakeNext(world)
}

/** Hardware became free, or somebody left the queue: whoever may take what is free now looks at once. */
async function wakeOthers(world: TurnWorld, { deployment, input }: Snapshot, result: Plan): Promise<void> {
  const freed = result.actions.some((action) => action.do === 'update' && action.patch.phase === 'gone')
  const wants = (claim: Claim | null) => claim?.missing ?? 0
  if (freed || wants(result.waiting) < wants(deployment.waiting)) await wakeNext(world)
  else if (result.nudge.length > 0) {
    await world.db.tx((tx) => wakeMany(tx, 'deployments', result.nudge, input.now))
    world.due(input.now)
  }
}

/** True when a turn would write nothing and call nobody. */
export function isQuiet(world: TurnWorld, { snapshot, result }: Decided): boolean {
  const { replicas, route } = snapshot
  const verdict = { ...result, emulated: emulatedOf(world, snapshot, replicas) }
  if (result.actions.length > 0 || result.nudge.length > 0 || !sameVerdict(snapshot, verdict)) return false
  if (replicas.some(({ phase, drain_version }) => phase === 'draining' && drain_version === null)) return false
  return sameRoute(route, routeFor(world, snapshot, verdict, replicas))
}

/** The replicas as the plan leaves them; new ones are followed once they are started. */
export function followed({ snapshot, result }: Decided): Followed[] {
  const patches = new Map(result.actions.flatMap((a) => (a.do === 'update' ? [[a.replicaId, a.patch] as const] : [])))
  return snapshot.input.replicas.map((view, at) => ({
    view: { ...view, ...patches.get(view.id) },
    provider: snapshot.replicas[at]!.provider,
    engine: engineOf(snapshot, view.revisionId),
  }))
}
