/** Use cases that change a deployment that exists: stop, start, restart, another spec, back to an earlier one. */
import type { Once } from '../access/once.ts'
import type { Principal } from '../access/permissions.ts'
import type { Offer } from '../compute/contract.ts'
import type { EventData } from '../events/catalogue.ts'
import { record } from '../events/store.ts'
import { canonical } from '../kernel/canonical.ts'
import { Fault } from '../kernel/fault.ts'
import { isUploadName } from '../models/uploads/names.ts'
import { newId } from '../runtime/ids.ts'
import type { Tx } from '../store/database.ts'
import { roomToKeep } from './adapters/keep.ts'
import type { CalendarWish } from './calendar-change.ts'
import { keepCalendar } from './calendar-keep.ts'
import { setStoppedBy } from './calendar-store.ts'
import { changeDeployment, type Write } from './change.ts'
import { allowed, type DeploymentContext } from './context.ts'
import { checkDowntime } from './downtime.ts'
import { refuseMisfit } from './fit.ts'
import { freeOffers, readMarket } from './offers.ts'
import { pinnedChange, sourceOf } from './pin.ts'
import { checkCeiling, choicesOf } from './prices.ts'
import { checkGrowth } from './quota.ts'
import { checkRoom } from './room.ts'
import { floorOf, policyOf } from './scaling.ts'
import { type DeploymentSpec, type DeploymentWish, makeSpec } from './spec.ts'
import { bringBack, stopDeployment } from './stop-start.ts'
import * as store from './store.ts'
import { checkUploadKept } from './upload-kept.ts'

/** A part of the spec; absent = as before. `undefined` = the default again. */
export type SpecChange = Partial<
  Omit<
    DeploymentWish,
    | 'name'
    | 'replicas'
    | 'scaling'
    | 'inactiveTimeoutMinutes'
    | 'failFast'
    | 'force'
    | 'preset'
    | 'limits'
    | 'adapters'
    | keyof CalendarWish
  >
>

/** How a change is rolled. */
export interface RollOptions {
  /** It may leave nobody to answer for longer than requests are held. */
  allowDowntime?: boolean
  /** Also to what the fit check says will not run. */
  force?: boolean
}

export interface RevisionView {
  number: number
  spec: DeploymentSpec
  /** Share of the traffic, 0 … 100. */
  weight: number
  /** The one that runs or is being rolled to. */
  current: boolean
  failed: boolean
  failedWhy: string | null
  createdAt: Date
}

export class Lifecycle {
  readonly #context: DeploymentContext
  constructor(context: DeploymentContext) {
    this.#context = context
  }

  /** Frees the hardware and ends billing; `start` brings it back. Works while it is still starting. Idempotent. */
  async stop(principal: Principal, idOrName: string, once: Once | null = null): Promise<void> {
    await changeDeployment(this.#context, principal, idOrName, once, async (tx, row, at) => {
      const by = principal.keyId
      if (row.desired === 'running') return stopDeployment(tx, row, { cause: 'person', by }, at)
      if (row.stopped_by === null || row.stopped_by === 'person') return
      // Its schedule would have started it again; now a person has said it.
      await setStoppedBy(tx, row.id, 'person')
      await event(tx, row, 'deployment.stop_asked', { by }, at)
    })
  }

  /**
   * Brings a stopped or failed deployment back; a running one is left as it is. `failFast`: as at a create. Throws Fault
   * `conflict` when its lease is over.
   */
  async start(
    principal: Principal,
    idOrName: string,
    once: Once | null = null,
    { failFast = false }: { failFast?: boolean } = {},
  ): Promise<void> {
    const market = failFast ? await readMarket(this.#context) : null
    await changeDeployment(this.#context, principal, idOrName, once, async (tx, locked, at) => {
      // What the calendar had to do before this comes before it: it must not undo the start afterwards.
      const { row } = await keepCalendar(this.#context, tx, locked, at)
      if (row.desired === 'running' && row.phase !== 'failed') return
      const { id, org_id: orgId, spec } = row
      if (market) checkRoom({ id, orgId, spec, replicas: floorOf(policyOf(row)) }, market, this.#context)
      await bringBack(this.#context, tx, row, at)
      await event(tx, row, 'deployment.start_asked', { by: principal.keyId }, at)
    })
  }

  /** New replicas of the same spec, rolled in without a gap where there is room. A stopped one is started. */
  async restart(
    principal: Principal,
    idOrName: string,
    once: Once | null = null,
    options: RollOptions = {},
  ): Promise<void> {
    const free = await freeOffers(this.#context)
    await changeDeployment(this.#context, principal, idOrName, once, async (tx, locked, at) => {
      const { row } = await keepCalendar(this.#context, tx, locked, at)
      const revision = await this.#addRevision(tx, row, { spec: row.spec, renew: true, free, ...options }, at)
      if (row.desired === 'stopped' || row.phase === 'failed') await bringBack(this.#context, tx, row, at)
      await event(tx, row, 'deployment.restart_asked', { by: principal.keyId, revision }, at)
    })
  }

  /**
   * Another spec = another revision, rolled to. Nothing changed = nothing done. `alongside` is written before it and
   * returns what it changed. Returns the names of all that changed. Throws as `create` does.
   */
  async change(
    principal: Principal,
    idOrName: string,
    change: SpecChange | ((row: store.DeploymentRow) => SpecChange),
    once: Once | null = null,
    { alongside, ...options }: RollOptions & { alongside?: Write<string[]> } = {},
  ): Promise<string[]> {
    const free = await freeOffers(this.#context)
    const asked = change instanceof Function ? change : await pinnedChange(this.#context, principal, idOrName, change)
    return changeDeployment(this.#context, principal, idOrName, once, async (tx, row, at) => {
      const others = (await alongside?.(tx, row, at)) ?? []
      const after = alongside ? (await store.deploymentById(tx, row.id))! : row
      const wish = changedWish(after, asked instanceof Function ? asked(row) : asked)
      const own = await this.#context.models.findOwn(tx, row.org_id, wish.modelId)
      await this.#context.models.keep(tx, wish.modelId)
      const first = makeSpec(wish, this.#context, own)
      const adapterRoom = await roomToKeep(tx, after, first.spec, this.#context)
      const hasIt = canonical(adapterRoom) === canonical(first.spec.engine.adapterRoom)
      const made = hasIt ? first : makeSpec({ ...wish, engine: { ...wish.engine, adapterRoom } }, this.#context, own)
      const { spec } = made
      // What was forced before is not asked again for a change that has nothing to do with it.
      if (!options.force && !runsAlike(row.spec, spec)) refuseMisfit(made, this.#context.hardware)
      const changed = changedFields(row.spec, spec)
      if (changed.length === 0) {
        if (options.allowDowntime) await store.allowInPlace(tx, row.id, row.revision)
        return others
      }
      await this.#checkGrowth(tx, after, spec)
      const revision = await this.#addRevision(tx, after, { spec, free, ...options }, at)
      await event(tx, row, 'deployment.changed', { revision, by: principal.keyId, changed }, at)
      return [...others, ...changed]
    })
  }

  /** Rolls to an earlier revision's spec (default: the newest before the current that worked), as a new revision. */
  async rollback(
    principal: Principal,
    idOrName: string,
    number?: number,
    once: Once | null = null,
    options: RollOptions = {},
  ): Promise<void> {
    const free = await freeOffers(this.#context)
    await changeDeployment(this.#context, principal, idOrName, once, async (tx, row, at) => {
      const revisions = await store.revisionsOf(tx, row.id)
      const earlier = revisions.filter((r) => r.number < row.revision && !r.failed)
      const target =
        number === undefined
          ? (earlier.find((r) => r.proven) ?? earlier[0])
          : revisions.find((r) => r.number === number)
      if (!target)
        throw number === undefined
          ? new Fault('conflict', 'There is no earlier revision.')
          : new Fault('invalid_request', `revision: there is no revision ${number} among the latest.`)
      if (target.number === row.revision) return
      await checkUploadKept(tx, this.#context, row.org_id, target)
      await this.#requireModel(tx, target.spec)
      checkCeiling(target.spec, floorOf(policyOf(row)), this.#context.hardware)
      await this.#checkGrowth(tx, row, target.spec)
      // Adapters are not rolled back: those of now have to fit, and to have room.
      const { adapterRoom: _then, ...engine } = target.spec.engine
      const adapterRoom = await roomToKeep(tx, row, target.spec, this.#context)
      const spec = { ...target.spec, engine: adapterRoom === undefined ? engine : { ...engine, adapterRoom } }
      await this.#addRevision(tx, row, { spec, free, ...options }, at)
      await event(tx, row, 'revision.rolled_back', { from: row.revision, to: target.number, by: principal.keyId }, at)
    })
  }

  async revisions(principal: Principal, idOrName: string): Promise<RevisionView[]> {
    const row = await allowed(this.#context, principal, idOrName, 'deployment:read')
    const revisions = await store.revisionsOf(this.#context.db, row.id)
    return revisions.map((r) => ({
      number: r.number,
      spec: r.spec,
      weight: r.weight,
      current: r.number === row.revision,
      failed: r.failed,
      failedWhy: r.failed_why,
      createdAt: r.created_at,
    }))
  }

  /** An earlier revision may name a model that was taken out of the catalogue since. Throws the Fault that says so. */
  async #requireModel(tx: Tx, { modelId, source }: DeploymentSpec): Promise<void> {
    if (isUploadName(modelId)) return
    this.#context.models.resolve(modelId, source)
    await this.#context.models.keep(tx, modelId)
  }

  async #checkGrowth(tx: Tx, row: store.DeploymentRow, spec: DeploymentSpec): Promise<void> {
    if (row.desired !== 'running') return
    const before = { id: row.id, spec: row.spec, scaling: policyOf(row), desiredReplicas: row.desired_replicas }
    await checkGrowth(tx, row.org_id, before, { ...before, spec }, this.#context)
  }

  /** `renew`: all replicas are replaced, also by the same. Throws Fault `downtime_not_allowed`. */
  async #addRevision(
    tx: Tx,
    row: store.DeploymentRow,
    to: RollOptions & { spec: DeploymentSpec; free: readonly Offer[]; renew?: boolean },
    at: Date,
  ): Promise<number> {
    const { spec, free, renew = false } = to
    const revisions = await store.revisionsOf(tx, row.id)
    const kept = renew ? [] : await this.#runAlike(tx, row, spec, revisions)
    const covered = kept.filter(({ phase }) => phase === 'ready').length >= row.desired_replicas
    const asked = { spec, free, allowed: to.allowDowntime ?? false }
    const roll = covered ? { inPlace: true, note: null } : await checkDowntime(tx, row, asked, this.#context)
    const number = (revisions[0]?.number ?? 0) + 1
    const id = newId('rev', this.#context.clock)
    const proven = kept.some(({ ready_at }) => ready_at !== null)
    await store.insertRevision(tx, { id, deployment_id: row.id, number, spec, proven, in_place: roll.inPlace }, at)
    const says = [`Revision ${number} takes over.`, ...(roll.note === null ? [] : [roll.note])].join(' ')
    await store.setRevision(tx, row.id, { number, spec, says }, at)
    await store.adoptReplicas(
      tx,
      kept.map((replica) => replica.id),
      id,
    )
    for (const { id: replica_id } of kept) await event(tx, row, 'replica.adopted', { replica_id, revision: number }, at)
    // What was given up stays down until somebody starts it, however its settings change.
    if (row.phase !== 'failed') await store.resetStarts(tx, row.id)
    return number
  }

  /** Replicas that run just as this spec has it, from a revision that is being rolled away from: they need no successor. */
  async #runAlike(
    tx: Tx,
    row: store.DeploymentRow,
    spec: DeploymentSpec,
    revisions: readonly store.RevisionRow[],
  ): Promise<store.ReplicaRow[]> {
    const usable = choicesOf(spec, floorOf(policyOf(row)), this.#context.hardware).filter((c) => c.skipped === null)
    const alike = new Set(revisions.filter((revision) => runsAlike(revision.spec, spec)).map(({ id }) => id))
    const runs = ['starting', 'ready', 'draining']
    return (await store.liveReplicasOf(tx, row.id)).filter(
      ({ revision_id, phase, gpu_type, gpu_count }) =>
        alike.has(revision_id) &&
        runs.includes(phase) &&
        usable.some((choice) => choice.gpuType === gpu_type && choice.gpuCount === gpu_count),
    )
  }
}

/** The same engine with the same model on the same choice of hardware; what it may cost changes no replica. */
function runsAlike(a: DeploymentSpec, b: DeploymentSpec): boolean {
  const running = ({ modelId, source, engine, hardware }: DeploymentSpec) =>
    canonical({ modelId, sha: source?.sha, files: source?.files, engine, hardware })
  return running(a) === running(b)
}

/** The wish that makes this spec again. `replicas` as the policy has them, for the price ceiling. */
export function wishOf(row: Pick<store.DeploymentRow, 'name' | 'spec' | 'scaling'>): DeploymentWish {
  const { modelId, source, hardware, maxHourlyUsd, engine, contextChosen, engineChosen } = row.spec
  const { maxModelLen, type, ...rest } = engine
  return {
    name: row.name,
    modelId,
    ...(source === undefined ? {} : { source }),
    hardware,
    ...(maxHourlyUsd === undefined ? {} : { maxHourlyUsd }),
    replicas: floorOf(policyOf(row)),
    engine: {
      ...rest,
      ...(engineChosen ? {} : { type }),
      ...(contextChosen || maxModelLen === undefined ? {} : { maxModelLen }),
    },
  }
}

/** The wish with the change on top. A type, a count or a region alone changes the one choice there is. */
function changedWish(row: store.DeploymentRow, change: SpecChange): DeploymentWish {
  const { gpuType, gpuCount, region, hardware, engine, ...rest } = change
  const before = wishOf(row)
  const source = sourceOf(row.spec, change)
  const wish = { ...before, ...rest, source, engine: { ...before.engine, ...engine } }
  if (hardware !== undefined) return { ...wish, hardware }
  const named = (['gpuType', 'gpuCount', 'region'] as const).filter((key) => key in change)
  if (named.length === 0) return wish
  const [first, ...others] = row.spec.hardware
  if (others.length > 0 && gpuType === undefined)
    throw new Fault(
      'invalid_request',
      'It has a list of hardware: change `hardware`, or name gpu_type as the one choice.',
    )
  const base = others.length > 0 ? null : first!
  return {
    ...wish,
    hardware: undefined,
    gpuType: gpuType ?? base?.gpuType,
    gpuCount: gpuCount ?? base?.gpuCount ?? 1,
    region: 'region' in change ? region : (base?.region ?? undefined),
  }
}

/** They follow from the others. */
const notOfTheWish: ReadonlySet<keyof DeploymentSpec> = new Set([
  'engineWhy',
  'contextChosen',
  'engineChosen',
  'quantization',
  'replicas',
  'uploadId',
])

function changedFields(before: DeploymentSpec, after: DeploymentSpec): string[] {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])] as (keyof DeploymentSpec)[]
  const own = keys.filter((key) => !notOfTheWish.has(key))
  return own.filter((key) => canonical(before[key]) !== canonical(after[key]))
}

async function event<T extends keyof EventData>(
  tx: Tx,
  row: store.DeploymentRow,
  type: T,
  data: EventData[T],
  at: Date,
): Promise<void> {
  await record(tx, { orgId: row.org_id, deploymentId: row.id, type, data, at })
}
