/**
 * Use cases of a deployment's adapters. An adapter is added and removed while it serves where the engine can do that;
 * where it cannot, the deployment rolls to a revision that has it. Either way it is called only where it is loaded.
 */
import { allLimits, type LimitsChange, withLimits } from '../../access/limits.ts'
import type { Once } from '../../access/once.ts'
import type { Principal } from '../../access/permissions.ts'
import { record } from '../../events/store.ts'
import { Fault } from '../../kernel/fault.ts'
import type { Tx } from '../../store/database.ts'
import { changeDeployment } from '../change.ts'
import { allowed, type DeploymentContext } from '../context.ts'
import type { Lifecycle, RollOptions } from '../lifecycle.ts'
import type { DeploymentRow } from '../store.ts'
import { liveReplicasOf } from '../store.ts'
import { type AdapterWish, checkAdapter, findAdapter } from './accept.ts'
import { checkCount, named, writeAdapter } from './keep.ts'
import { publishAdapters } from './publish.ts'
import { type AdapterRow, adaptersOf, removeAdapter, saveAdapterLimits, statesOf } from './store.ts'
import { type AdapterView, viewAdapter } from './view.ts'

export interface AdapterContext extends DeploymentContext {
  lifecycle: Lifecycle
  /** Tells whoever loads them that something changed. */
  look(): void
}

export class Adapters {
  readonly #context: AdapterContext
  constructor(context: AdapterContext) {
    this.#context = context
  }

  /** Those that can be called, and those that are being let go of. */
  async list(principal: Principal, idOrName: string): Promise<AdapterView[]> {
    const { db } = this.#context
    const row = await allowed(this.#context, principal, idOrName, 'deployment:read')
    const [adapters, states, replicas] = await Promise.all([
      adaptersOf(db, row.id),
      statesOf(db, row.id),
      liveReplicasOf(db, row.id),
    ])
    const called = adapters.filter((adapter) => adapter.removed_at === null)
    return called.map((adapter) => viewAdapter(row, adapter, states, replicas))
  }

  /** By name or id. Every live gateway knows when this returns, or a second is over; nothing is loaded anew. */
  async change(
    principal: Principal,
    idOrName: string,
    nameOrId: string,
    { limits = {} }: { limits?: LimitsChange | undefined },
    once: Once | null,
  ): Promise<AdapterView> {
    const id = await changeDeployment(this.#context, principal, idOrName, once, async (tx, row, at) => {
      const adapter = await calledSo(tx, row, nameOrId)
      const { limits: after, changed } = withLimits(allLimits(adapter.limits), limits)
      if (changed.length === 0) return adapter.id
      await saveAdapterLimits(tx, adapter.id, after)
      const data = { adapter: adapter.name, adapter_id: adapter.id, by: principal.keyId, changed }
      await record(tx, { orgId: row.org_id, deploymentId: row.id, type: 'adapter.limits_changed', data, at })
      await publishAdapters(tx, row.id)
      return adapter.id
    })
    return (await this.list(principal, idOrName)).find((view) => view.id === id) ?? gone(nameOrId)
  }

  /** Answers at once; the adapter's state says when it can be called. */
  async add(
    principal: Principal,
    idOrName: string,
    wish: AdapterWish,
    once: Once | null,
    options: RollOptions = {},
  ): Promise<AdapterView> {
    const before = await allowed(this.#context, principal, idOrName, 'deployment:write')
    const found = await findAdapter(this.#context, before.org_id, wish, before.spec.engine.type)
    const of = ({ spec, org_id: orgId }: DeploymentRow) => ({ spec, orgId })
    await checkAdapter(this.#context.db, found, of(before), this.#context)
    const adapter = named(found, this.#context)
    const { id, name } = adapter
    await this.#change(principal, idOrName, once, options, async (tx, row, at) => {
      // What was found was found for the spec of then.
      await checkAdapter(tx, found, of(row), this.#context)
      const called = (await adaptersOf(tx, row.id)).filter(({ removed_at }) => removed_at === null)
      checkCount(called.length + 1, { name: row.name, engine: row.spec.engine.type }, this.#context)
      await writeAdapter(tx, row, adapter, { ...this.#context, by: principal.keyId, at })
    })
    const all = await this.list(principal, idOrName)
    // Of a request that is repeated: what it made the first time.
    return all.find((view) => view.id === id) ?? all.find((view) => view.name === name) ?? gone(name)
  }

  /** By name or id. New requests for it are refused when this returns; replicas let go of it as soon as they can. */
  async remove(
    principal: Principal,
    idOrName: string,
    nameOrId: string,
    options: RollOptions = {},
  ): Promise<AdapterView> {
    const found = (await this.list(principal, idOrName)).find(({ id, name }) => id === nameOrId || name === nameOrId)
    await this.#change(principal, idOrName, null, options, async (tx, row, at) => {
      // Not another one that was given its name meanwhile.
      const adapter = await calledSo(tx, row, found?.id ?? nameOrId)
      await removeAdapter(tx, adapter.id, at)
      const data = { adapter: adapter.name, adapter_id: adapter.id, by: principal.keyId }
      await record(tx, { orgId: row.org_id, deploymentId: row.id, type: 'adapter.removed', data, at })
    })
    return found ?? gone(nameOrId)
  }

  /** `write`, what the gateways are told, and the room that its engine then needs, in one transaction. */
  async #change(
    principal: Principal,
    idOrName: string,
    once: Once | null,
    options: RollOptions,
    write: (tx: Tx, row: DeploymentRow, at: Date) => Promise<void>,
  ): Promise<void> {
    const { lifecycle, look } = this.#context
    const alongside = async (tx: Tx, row: DeploymentRow, at: Date): Promise<string[]> => {
      await write(tx, row, at)
      await publishAdapters(tx, row.id)
      return ['adapters']
    }
    await lifecycle.change(principal, idOrName, {}, once, { ...options, alongside })
    look()
  }
}

/** By name or id, of those that can be called. Throws Fault `not_found`. */
async function calledSo(tx: Tx, { id: deploymentId, name: of }: DeploymentRow, nameOrId: string): Promise<AdapterRow> {
  const called = (await adaptersOf(tx, deploymentId)).filter(({ removed_at }) => removed_at === null)
  const found = called.find(({ id, name }) => id === nameOrId || name === nameOrId)
  if (found !== undefined) return found
  const names = called.map(({ name }) => name)
  const action = names.length === 0 ? 'It has none.' : `It has ${names.join(', ')}.`
  throw new Fault('not_found', `${of} has no adapter "${nameOrId.slice(0, 128)}".`, { action })
}

function gone(name: string): never {
  throw new Fault('not_found', `The adapter "${name}" was removed meanwhile.`)
}
