/**
 * A `model_id` that names a repository of the Hub is pinned when somebody names it: to a commit and its files, which the
 * revision keeps. Naming the same again changes nothing; another revision of it is named with an @.
 */
import type { Principal } from '../access/permissions.ts'
import type { EngineDriver, EngineType, ModelFiles } from '../engines/contract.ts'
import { Fault } from '../kernel/fault.ts'
import { isHubName } from '../models/hub/name.ts'
import type { HubSource } from '../models/hub/pin.ts'
import { allowed, type DeploymentContext } from './context.ts'
import type { SpecChange } from './lifecycle.ts'
import { chooseHardware, type DeploymentSpec, type DeploymentWish } from './spec.ts'

/** `formats`: those that can be loaded, the preferred first. Throws the Hub's Faults. */
export type Pin = (orgId: string, modelId: string, formats: readonly Format[]) => Promise<HubSource>
type Format = ModelFiles['format']

/**
 * The wish with what its model is pinned to. May ask the Hub: never within a transaction, and not for hardware that there
 * is not.
 */
export async function pinned(context: DeploymentContext, orgId: string, wish: DeploymentWish): Promise<DeploymentWish> {
  const name = context.models.hubName(wish.modelId)
  if (name !== null) chooseHardware(wish, context.hardware)
  return name === null ? wish : { ...wish, source: await ask(context, orgId, name, wish.engine?.type) }
}

/** The same of a change; what a deployment has already is not asked for again. */
export async function pinnedChange(
  context: DeploymentContext,
  principal: Principal,
  idOrName: string,
  change: SpecChange,
): Promise<SpecChange> {
  const { modelId } = change
  const name = modelId === undefined ? null : context.models.hubName(modelId)
  if (name === null) return change
  const row = await allowed(context, principal, idOrName, 'deployment:write')
  if (row.spec.modelId === modelId && row.spec.source !== undefined) return change
  const engine = change.engine?.type ?? (row.spec.engineChosen ? 'auto' : row.spec.engine.type)
  return { ...change, source: await ask(context, row.org_id, name, engine) }
}

/** What a changed wish is pinned to: as before, as the change says, or to nothing. */
export function sourceOf(before: DeploymentSpec, change: SpecChange): HubSource | undefined {
  const { modelId, source } = change
  if (modelId === undefined || modelId === before.modelId) return before.source ?? source
  if (isHubName(modelId) && source === undefined)
    throw new Fault('conflict', 'Its model was changed by somebody else at the same time.')
  return source
}

async function ask(
  { pin, engines }: DeploymentContext,
  orgId: string,
  modelId: string,
  engine: 'auto' | EngineType | undefined,
): Promise<HubSource> {
  if (pin === undefined) throw new Fault('hub_off', `${modelId} would come from a Hub, and this server uses none.`)
  return pin(orgId, modelId, formatsFor(engines, engine))
}

/** Safetensors before GGUF, which is mostly a smaller copy of them. */
function formatsFor(
  engines: ReadonlyMap<EngineType, EngineDriver>,
  asked: 'auto' | EngineType = 'auto',
): readonly Format[] {
  const drivers = asked === 'auto' ? [...engines.values()] : [engines.get(asked)]
  const loaded = new Set(drivers.flatMap((driver) => driver?.formats ?? []))
  return (['safetensors', 'gguf'] as const).filter((format) => loaded.has(format))
}
