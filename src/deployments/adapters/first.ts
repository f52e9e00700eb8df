/** Adapters that a deployment is created with: found and checked before it is written, and written with it. */
import type { Tx } from '../../store/database.ts'
import type { DeploymentContext } from '../context.ts'
import { type DeploymentWish, type MadeSpec, makeSpec } from '../spec.ts'
import type { DeploymentRow } from '../store.ts'
import { checkAdapter, engineAdapters, findAdapter } from './accept.ts'
import { checkCount, type NewAdapter, named, roomFor, writeAdapter } from './keep.ts'
import { publishAdapters } from './publish.ts'

/** Those of the wish, one after the other so that the first that is wrong is the one that is said. Throws as an add does. */
export async function findFirst(
  context: DeploymentContext,
  orgId: string,
  { name, adapters = [] }: DeploymentWish,
  { spec }: MadeSpec,
): Promise<NewAdapter[]> {
  const { type } = spec.engine
  checkCount(adapters.length, { name, engine: type }, context)
  const all: NewAdapter[] = []
  for (const wish of adapters) {
    const found = await findAdapter(context, orgId, wish, type)
    await checkAdapter(context.db, found, { spec, orgId }, context)
    all.push(named(found, context))
  }
  return all
}

/** The same spec with room for these. */
export function withRoom(
  made: MadeSpec,
  adapters: readonly NewAdapter[],
  wish: DeploymentWish,
  context: DeploymentContext,
  own: Parameters<typeof makeSpec>[2],
): MadeSpec {
  if (adapters.length === 0) return made
  const engine = engineAdapters(context.engines, made.spec.engine.type)
  const needed = adapters.map(({ id, file }) => ({ id, rank: file.rank }))
  const adapterRoom = roomFor(engine, undefined, needed)
  return adapterRoom === undefined ? made : makeSpec({ ...wish, engine: { ...wish.engine, adapterRoom } }, context, own)
}

/** With the deployment, in its transaction; its route is published already. */
export async function writeFirst(
  tx: Tx,
  deployment: Pick<DeploymentRow, 'id' | 'org_id' | 'name'>,
  adapters: readonly NewAdapter[],
  told: Parameters<typeof writeAdapter>[3],
): Promise<void> {
  for (const adapter of adapters) await writeAdapter(tx, deployment, adapter, told)
  if (adapters.length > 0) await publishAdapters(tx, deployment.id)
}
