/** What a plan makes of a deployment: what its row says, and what the gateways are told. */
import { canonical } from '../kernel/canonical.ts'
import type { ModelCatalogue } from '../models/catalogue.ts'
import { engineKey } from './observe.ts'
import type { Plan } from './plan.ts'
import { emulatedNow, makeRoute } from './publish.ts'
import type { Route } from './routes.ts'
import type { Snapshot, World } from './snapshot.ts'
import type { ReplicaRow } from './store.ts'

export type VerdictWorld = World & { models: ModelCatalogue }

export type Verdict = Plan & { emulated: boolean }

/** True when the row says it already. */
export function sameVerdict({ deployment }: Snapshot, result: Verdict): boolean {
  return (
    deployment.emulated === result.emulated &&
    canonical(deployment.waiting) === canonical(result.waiting) &&
    deployment.phase === result.phase &&
    deployment.ready_replicas === result.readyReplicas &&
    JSON.stringify(deployment.plan_why) === JSON.stringify(result.why) &&
    deployment.starts.failed === result.starts.failed &&
    deployment.starts.lastAt === result.starts.lastAt &&
    deployment.reason?.code === result.reason?.code &&
    deployment.reason?.message === result.reason?.message
  )
}

/** Do those that serve, of these rows, stand in for hardware or a model that is not there? */
export function emulatedOf(
  world: VerdictWorld,
  { deployment, revisions, input }: Snapshot,
  rows: readonly ReplicaRow[],
): boolean {
  const serving = rows.filter((row) => row.phase === 'ready' || row.phase === 'draining')
  return emulatedNow({
    serving: serving.map(({ emulated, revision_id }) => {
      const { spec } = revisions.find((revision) => revision.id === revision_id) ?? deployment
      return { emulated, modelId: spec.modelId }
    }),
    target: deployment.spec,
    offers: input.offers,
    standIn: (modelId) => world.models.standIn(modelId),
    before: deployment.emulated,
  })
}

export function routeFor(
  world: VerdictWorld,
  snapshot: Snapshot,
  { phase, reason, emulated }: Pick<Verdict, 'phase' | 'reason' | 'emulated'>,
  replicas: readonly ReplicaRow[],
): Route {
  const { deployment } = snapshot
  const engine = world.engines.get(deployment.spec.engine.type)
  return makeRoute({
    deployment: {
      id: deployment.id,
      orgId: deployment.org_id,
      name: deployment.name,
      modelId: deployment.spec.modelId,
      emulated,
      servedBy: world.models.standIn(deployment.spec.modelId),
      createdAt: deployment.created_at,
      desired: deployment.desired,
      limits: deployment.limits,
      adapters: deployment.adapters,
    },
    engine: deployment.spec.engine.type,
    contextTokens: engine ? contextTokens(world, snapshot) : 0,
    phase,
    reason,
    replicas: replicas.map((r) => {
      const revision = snapshot.revisions.find(({ id }) => id === r.revision_id)
      const { modelId, engine } = (revision ?? deployment).spec
      return {
        id: r.id,
        phase: r.phase,
        silent: r.unhealthy_since !== null,
        address: r.address,
        port: r.port,
        key: engineKey(world.seal, r.id),
        weight: revision?.weight ?? 100,
        modelId,
        engine: engine.type,
      }
    }),
  })
}

function contextTokens(world: VerdictWorld, { deployment }: Snapshot): number {
  const { engine, source } = deployment.spec
  return (
    engine.maxModelLen ??
    source?.contextSize ??
    world.models.all().find((m) => m.id === deployment.spec.modelId)?.contextSize ??
    0
  )
}
