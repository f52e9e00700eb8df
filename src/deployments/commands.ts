/** Use cases of deployments: authorise → decide → write in one transaction. The reconciler does the rest. */

import { propagated } from '../access/gateways.ts'
import { noLimits, withLimits } from '../access/limits.ts'
import { madeBefore, type Once, runOnce } from '../access/once.ts'
import { can, type Principal } from '../access/permissions.ts'
import type { Offer } from '../compute/contract.ts'
import type { StartMoments } from '../engines/contract.ts'
import type { StoredEvent } from '../events/catalogue.ts'
import { type EventFilter, eventsOf, record } from '../events/store.ts'
import { Fault } from '../kernel/fault.ts'
import type { ReplicaId } from '../kernel/ids.ts'
import { reasonOf } from '../kernel/phase.ts'
import type { ResolvedModel } from '../models/catalogue.ts'
import { newId } from '../runtime/ids.ts'
import type { Tx } from '../store/database.ts'
import { findFirst, withRoom, writeFirst } from './adapters/first.ts'
import type { NewAdapter } from './adapters/keep.ts'
import { makeCalendar } from './calendar-change.ts'
import { keepCalendar } from './calendar-keep.ts'
import { isMissed } from './cold-start.ts'
import { beginCold, lastColdStart } from './cold-store.ts'
import { allowed, type DeploymentContext, forbidden } from './context.ts'
import { refuseMisfit } from './fit.ts'
import { freeOffers, readMarket } from './offers.ts'
import { pinned } from './pin.ts'
import { onlyEmulated } from './place.ts'
import { type Prediction, predict } from './predict.ts'
import { checkPresetHardware, hardwareAtCreate, withPreset } from './presets.ts'
import { makeRoute } from './publish.ts'
import { checkQuota } from './quota.ts'
import { checkRoom } from './room.ts'
import { firstScaling, type ScalingPolicy } from './scaling.ts'
import { calendarWhy } from './schedules.ts'
import { showDeployments } from './show.ts'
import { noStarts } from './situation.ts'
import { type DeploymentWish, makeSpec } from './spec.ts'
import { durationsOf } from './start.ts'
import * as store from './store.ts'
import type { DeploymentView, Explanation, ReplicaSummary } from './view.ts'

export interface Page {
  cursor?: string
  limit: number
}

/** Kept with an Idempotency-Key. */
interface Made {
  id: string
  routesVersion: number
}

const replicasShownMaximum = 50
const eventsExplained = 20
const logLinesMaximum = 10_000

export class Deployments {
  readonly #context: DeploymentContext
  constructor(context: DeploymentContext) {
    this.#context = context
  }

  /** Throws Faults: forbidden, name_taken, quota_exceeded, model_not_supported, gpu_type_unknown … Returns at once, `starting`. */
  async create(principal: Principal, asked: DeploymentWish, once: Once | null): Promise<DeploymentView> {
    const { db, seal } = this.#context
    if (!can(principal, 'deployment:write')) throw forbidden('deployment:write')
    // The Hub is not asked again, nor is anything else looked at.
    const made = await madeBefore<Made>(db, seal, principal.orgId, once)
    return this.#answer(made ?? (await this.#create(principal, asked, once)))
  }

  async #create(principal: Principal, asked: DeploymentWish, once: Once | null): Promise<Made> {
    const { db, seal, clock } = this.#context
    const wish = await pinned(this.#context, principal.orgId, withPreset(asked, this.#context))
    const { policy: scaling, replicas } = firstScaling(wish, this.#context)
    const own = await this.#context.models.findOwn(db, principal.orgId, wish.modelId)
    const plain = makeSpec({ ...wish, replicas }, this.#context, own)
    const adapters = await findFirst(this.#context, principal.orgId, wish, plain)
    const made = withRoom(plain, adapters, { ...wish, replicas }, this.#context, own)
    const { spec, model } = made
    if (!wish.force) refuseMisfit(made, this.#context.hardware)
    const market = await readMarket(this.#context)
    const { offers } = market
    const { preset = null } = wish
    if (preset !== null && asked.gpuType === undefined && asked.hardware === undefined)
      checkPresetHardware(preset, offers, this.#context.hardware, hardwareAtCreate)
    const emulated = model.emulated || onlyEmulated(spec.hardware, offers)
    const { schedule = null, expiresAt = null } = makeCalendar(wish, this.#context, clock.now())
    const { result } = await runOnce(db, seal, clock, principal.orgId, once, async (tx) => {
      await store.lockOrg(tx, principal.orgId)
      // From here on nobody deletes it.
      if (own !== null) await this.#context.models.findOwn(tx, principal.orgId, wish.modelId)
      await this.#context.models.keep(tx, wish.modelId)
      await checkQuota(tx, principal.orgId, { id: null, spec, scaling, desiredReplicas: replicas }, this.#context)
      if (wish.failFast) checkRoom({ id: null, orgId: principal.orgId, spec, replicas }, market, this.#context)
      const { limits } = withLimits(noLimits, wish.limits ?? {})
      const columns = { spec, scaling, model, adapters, emulated, schedule, expires_at: expiresAt, preset, limits }
      return this.#insert(tx, principal, wish.name, columns)
    })
    this.#context.wake()
    return result
  }

  async #answer({ id, routesVersion }: Made): Promise<DeploymentView> {
    const { db, clock } = this.#context
    // A request that follows this answer is held, not told that there is no such deployment.
    await propagated(db, clock, 'routes', routesVersion)
    return this.#view((await store.deploymentById(db, id))!)
  }

  /** What `create` would do; nothing is written. Throws as it does for what no create can be. */
  predict(principal: Principal, asked: DeploymentWish): Promise<Prediction> {
    return predict(this.#context, principal, asked)
  }

  async #insert(
    tx: Tx,
    principal: Principal,
    name: string,
    made: Pick<store.DeploymentRow, 'spec' | 'emulated' | 'schedule' | 'expires_at' | 'preset' | 'limits'> & {
      scaling: ScalingPolicy
      model: ResolvedModel
      adapters: readonly NewAdapter[]
    },
  ): Promise<Made> {
    const { model, adapters, ...columns } = made
    const { spec, emulated } = columns
    const at = new Date(this.#context.clock.now())
    const id = newId('dep', this.#context.clock)
    const reason = reasonOf('starting', at)
    const row = {
      id,
      org_id: principal.orgId,
      name,
      ...columns,
      desired_replicas: spec.replicas,
      reason,
      starts: noStarts,
    }
    if (!(await store.insertDeployment(tx, row, at)))
      throw new Fault('name_taken', `There is a deployment "${name}" already.`)
    await store.insertRevision(tx, { id: newId('rev', this.#context.clock), deployment_id: id, number: 1, spec }, at)
    await beginCold(tx, id, 'create', at)
    const data = { name, model_id: spec.modelId, by: principal.keyId }
    await record(tx, { orgId: principal.orgId, deploymentId: id, type: 'deployment.created', data, at })
    const route = makeRoute({
      deployment: {
        id,
        orgId: row.org_id,
        name,
        modelId: spec.modelId,
        emulated,
        servedBy: this.#context.models.standIn(spec.modelId),
        createdAt: at,
        desired: 'running',
        limits: row.limits,
      },
      engine: spec.engine.type,
      contextTokens: spec.engine.maxModelLen ?? model.files.contextSize,
      phase: 'starting',
      reason,
      replicas: [],
    })
    await store.publishRoute(tx, route)
    await writeFirst(tx, row, adapters, { ...this.#context, by: principal.keyId, at })
    // Its schedule may say that it does not run now.
    await keepCalendar(this.#context, tx, (await store.deploymentById(tx, id))!, at)
    return { id, routesVersion: (await store.routeOf(tx, id))!.version }
  }

  async list(
    principal: Principal,
    page: Page & { deleted?: boolean },
  ): Promise<{ items: DeploymentView[]; nextCursor: string | null }> {
    const { db } = this.#context
    const rows = await store.deploymentsOf(
      db,
      principal.orgId,
      page.cursor ?? null,
      page.limit + 1,
      page.deleted ?? false,
    )
    const shown = rows.slice(0, page.limit)
    const visible = shown.filter((row) => can(principal, 'deployment:read', row.id))
    if (visible.length === 0 && principal.role !== 'scoped' && !can(principal, 'deployment:read'))
      throw forbidden('deployment:read')
    return {
      items: await showDeployments(this.#context, visible),
      nextCursor: rows.length > page.limit ? shown.at(-1)!.id : null,
    }
  }

  async get(principal: Principal, idOrName: string): Promise<DeploymentView> {
    return this.#view(await allowed(this.#context, principal, idOrName, 'deployment:read'))
  }

  /** Tears down at once: billing stops and requests are refused before this returns. Repeating it changes nothing. */
  async remove(principal: Principal, idOrName: string, options: { onlyIfStopped: boolean }): Promise<DeploymentView> {
    const { db, clock } = this.#context
    const row = await allowed(this.#context, principal, idOrName, 'deployment:write')
    const version = await db.tx(async (tx) => {
      const at = new Date(clock.now())
      if (options.onlyIfStopped) await this.#refuseUnlessStopped(tx, row.id)
      if (!(await store.askDelete(tx, row.id, at))) return null
      await store.endReplicas(tx, row.id, at)
      await record(tx, {
        orgId: row.org_id,
        deploymentId: row.id,
        type: 'deployment.delete_asked',
        data: { by: principal.keyId },
        at,
      })
      const route = await store.routeOf(tx, row.id)
      return route === null ? null : store.publishRoute(tx, { ...route, phase: 'stopping', removed: true })
    })
    this.#context.wake()
    if (version !== null) await propagated(db, clock, 'routes', version)
    return this.#view((await store.deploymentById(db, row.id))!)
  }

  async #refuseUnlessStopped(tx: Tx, id: string): Promise<void> {
    const row = await store.deploymentById(tx, id)
    if (row && row.phase !== 'stopped' && row.phase !== 'failed' && row.desired !== 'deleted')
      throw new Fault('conflict', `It is ${row.phase}; only a stopped deployment is deleted this way.`, {
        action: 'Stop it first, then delete it.',
      })
  }

  /** What hardware there is and how much of it is free; null for a key that may neither deploy nor look. */
  async availability(principal: Principal): Promise<Offer[] | null> {
    if (!can(principal, 'deployment:read')) return null
    return freeOffers(this.#context)
  }

  async explain(principal: Principal, idOrName: string): Promise<Explanation> {
    const { db } = this.#context
    const row = await allowed(this.#context, principal, idOrName, 'deployment:read')
    const [deployment, replicas, events, coldStart] = await Promise.all([
      this.#view(row),
      this.#summaries(row),
      eventsOf(db, row.id, null, eventsExplained),
      lastColdStart(db, row.id),
    ])
    return {
      deployment,
      why: [...row.plan_why, ...calendarWhy(row, this.#context.clock.now())],
      engineWhy: row.spec.engineWhy,
      coldStart: coldStart === null ? null : { ...coldStart, missed: isMissed(coldStart) },
      replicas,
      events: events.map(({ at, type, data }) => ({ at, type, data })),
      nextLookAt: row.next_at,
    }
  }

  async replicas(principal: Principal, idOrName: string): Promise<ReplicaSummary[]> {
    return this.#summaries(await allowed(this.#context, principal, idOrName, 'deployment:read'))
  }

  /** Newest first. */
  async events(
    principal: Principal,
    idOrName: string,
    page: Page & EventFilter,
  ): Promise<{ items: StoredEvent[]; nextCursor: string | null }> {
    const row = await allowed(this.#context, principal, idOrName, 'deployment:read')
    const before = page.cursor === undefined ? null : Number(page.cursor)
    if (before !== null && !Number.isSafeInteger(before)) throw new Fault('invalid_request', 'The cursor is damaged.')
    const items = await eventsOf(this.#context.db, row.id, before, page.limit + 1, page)
    const shown = items.slice(0, page.limit)
    return { items: shown, nextCursor: items.length > page.limit ? String(shown.at(-1)!.seq) : null }
  }

  /** The engines' own output by replica, newest replica first; prompts and completions are never in it. */
  async logs(principal: Principal, idOrName: string, lines: number): Promise<{ replicaId: string; lines: string[] }[]> {
    const { db, computes } = this.#context
    const row = await allowed(this.#context, principal, idOrName, 'deployment:logs')
    const replicas = (await store.replicasOf(db, [row.id], replicasShownMaximum)).filter(
      (r) => r.phase !== 'gone' || r.exit,
    )
    return Promise.all(
      replicas.map(async (replica) => {
        const kept = replica.exit?.lastLines ?? []
        if (replica.phase === 'gone') return { replicaId: replica.id, lines: kept }
        const current = await computes
          .get(replica.provider)
          ?.logs(replica.id as ReplicaId, Math.min(lines, logLinesMaximum))
          .catch(() => kept)
        return { replicaId: replica.id, lines: current ?? kept }
      }),
    )
  }

  async #summaries(row: store.DeploymentRow): Promise<ReplicaSummary[]> {
    const { db, clock } = this.#context
    const [replicas, revisions] = await Promise.all([
      store.replicasOf(db, [row.id], replicasShownMaximum),
      store.revisionsOf(db, row.id),
    ])
    return replicas.map((r) => ({
      id: r.id,
      revision: revisions.find((revision) => revision.id === r.revision_id)?.number ?? 0,
      phase: r.phase,
      gpuType: r.gpu_type,
      gpuCount: r.gpu_count,
      region: r.region,
      createdAt: r.created_at,
      readyAt: r.ready_at,
      endedAt: r.ended_at,
      startPhases: begunOf(r.start_phases),
      startMs: durationsOf(r.start_phases, (r.ready_at ?? r.ended_at)?.getTime() ?? clock.now()),
      exit: r.exit,
    }))
  }

  async #view(row: store.DeploymentRow): Promise<DeploymentView> {
    return (await showDeployments(this.#context, [row]))[0]!
  }
}

/** Without the moment at which it was ready, which is no part. */
function begunOf({ ready: _ready, ...begun }: StartMoments): Record<string, number> {
  return begun
}
