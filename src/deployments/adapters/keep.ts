/**
 * What a deployment's adapters ask of it: that all that is written of them is written in one place, that each still fits
 * whatever the deployment is changed to, and that its engine has room for them.
 */
import type { AdapterRoom, EngineAdapters } from '../../engines/contract.adapters.ts'
import { record } from '../../events/store.ts'
import { canonical } from '../../kernel/canonical.ts'
import { Fault } from '../../kernel/fault.ts'
import type { AdapterFile } from '../../models/adapters/file.ts'
import { readAdapter } from '../../models/adapters/read.ts'
import { newId } from '../../runtime/ids.ts'
import type { Tx } from '../../store/database.ts'
import type { DeploymentContext } from '../context.ts'
import type { DeploymentSpec } from '../spec.ts'
import type { DeploymentRow } from '../store.ts'
import { checkAdapter, engineAdapters, type FoundAdapter } from './accept.ts'
import { type AdapterRow, adaptersOf, insertAdapter } from './store.ts'

export interface AdapterLimits {
  adaptersMaximum: number
  /** Of an engine whose adapters take a context each. */
  adapterSets: number
  /** Folders from which they may be loaded. */
  modelPaths: readonly string[]
}

/** An adapter that was found, with the id that it will have. */
export type NewAdapter = FoundAdapter & { id: string }

export function named(found: FoundAdapter, { clock }: Pick<DeploymentContext, 'clock'>): NewAdapter {
  return { ...found, id: newId('ada', clock) }
}

/** Writes it down, and that it was added. Throws Faults: name_taken, and whatever its source says when it is gone. */
export async function writeAdapter(
  tx: Tx,
  deployment: Pick<DeploymentRow, 'id' | 'org_id' | 'name'>,
  found: NewAdapter,
  { models, by, at }: Pick<DeploymentContext, 'models'> & { by: string; at: Date },
): Promise<void> {
  const { id, name, source, origin, forced, limits, file } = found
  const { org_id, id: deployment_id } = deployment
  if (origin !== null) await models.adapters.of(source)?.hold?.(tx, org_id, source, origin)
  const { format, path, rank, sizeBytes: size_bytes, bases, architecture, changes } = file
  const facts = { bases, architecture, changes }
  const base = bases[0] ?? null
  const row = { ...{ id, org_id, deployment_id, name, source }, ...{ format, path, rank, size_bytes, base } }
  if (!(await insertAdapter(tx, { ...row, origin, facts, forced, limits }, at)))
    throw new Fault('name_taken', `${deployment.name} has an adapter "${name}" already.`, {
      action: 'Choose another name, or remove the adapter that has it.',
    })
  const data = { adapter: name, adapter_id: id, source, by }
  await record(tx, { orgId: org_id, deploymentId: deployment_id, type: 'adapter.added', data, at })
}

/** May it have that many? Throws Faults: conflict, engine_unsupported. */
export function checkCount(
  count: number,
  { name, engine }: { name: string; engine: DeploymentSpec['engine']['type'] },
  { adaptersMaximum, adapterSets, engines }: Pick<DeploymentContext, 'engines'> & AdapterLimits,
): void {
  if (count > adaptersMaximum)
    throw new Fault('conflict', `A deployment may have ${adaptersMaximum} adapters; ${name} would have ${count}.`, {
      action: 'Remove one first, or ask the operator to raise adapters.maximum.',
    })
  if (engines.get(engine)?.adapters?.takesContexts && count > adapterSets)
    throw new Fault(
      'engine_unsupported',
      `The engine ${engine} computes with ${adapterSets} adapters at once; ${name} would have ${count}.`,
      { action: 'Remove one first, or ask the operator to raise adapters.sets.' },
    )
}

/**
 * The room that a spec's engine sets aside for the deployment's adapters; undefined = none. Where it is to run something
 * else than before each of them is checked anew. Throws as `checkAdapter` and `checkCount` do.
 */
export async function roomToKeep(
  tx: Tx,
  row: DeploymentRow,
  spec: DeploymentSpec,
  context: DeploymentContext,
): Promise<AdapterRoom | undefined> {
  const called = (await adaptersOf(tx, row.id)).filter(({ removed_at }) => removed_at === null)
  const { type } = spec.engine
  const now = type === row.spec.engine.type ? row.spec.engine.adapterRoom : undefined
  if (called.length === 0) {
    const engine = context.engines.get(type)?.adapters
    return engine && roomFor(engine, now, called)
  }
  const engine = engineAdapters(context.engines, type)
  if (!isServedAlike(row.spec, spec)) {
    checkCount(called.length, { name: row.name, engine: type }, context)
    for (const adapter of called)
      await checkAdapter(tx, { ...adapter, file: fileOf(adapter) }, { spec, orgId: row.org_id }, context)
  }
  return roomFor(engine, now, called)
}

export function roomFor(
  engine: EngineAdapters,
  now: AdapterRoom | undefined,
  adapters: readonly Pick<AdapterRow, 'id' | 'rank'>[],
): AdapterRoom | undefined {
  const needed = adapters.map(({ id, rank }) => ({ engineName: id, rank }))
  return engine.room(now ?? null, needed) ?? undefined
}

/** Of the weights and the engine, as far as adapters see them. */
function isServedAlike(a: DeploymentSpec, b: DeploymentSpec): boolean {
  const seen = ({ modelId, source, engine }: DeploymentSpec) =>
    canonical({ modelId, sha: source?.sha, entry: source?.entry, type: engine.type })
  return seen(a) === seen(b)
}

/** As it was read when it was added. */
function fileOf({ format, path, rank, size_bytes, facts }: AdapterRow): AdapterFile {
  return facts === null ? readAdapter(path) : { format, path, rank, sizeBytes: Number(size_bytes), ...facts }
}
