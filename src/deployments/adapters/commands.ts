/**
 * Use cases of a deployment's adapters. An adapter is added and removed while it serves where the engine can do that;
 * where it cannot, the deployment rolls to a revision that has it. Either way it is called only where it is loaded.
 */
import type { Once } from '../../access/once.ts'
import type { Principal } from '../../access/permissions.ts'
import type { AdapterRoom, EngineAdapters } from '../../engines/contract.adapters.ts'
import { record } from '../../events/store.ts'
import { Fault } from '../../kernel/fault.ts'
import { newId } from '../../runtime/ids.ts'
import type { Tx } from '../../store/database.ts'
import { allowed, type DeploymentContext } from '../context.ts'
import type { Lifecycle, RollOptions } from '../lifecycle.ts'
import type { DeploymentRow } from '../store.ts'
import { liveReplicasOf } from '../store.ts'
import { type AdapterWish, acceptAdapter, adapterPath, checkName, nameFrom } from './accept.ts'
import { publishAdapters } from './publish.ts'
import { type AdapterRow, adaptersOf, insertAdapter, removeAdapter, statesOf } from './store.ts'
import { type AdapterView, viewAdapter } from './view.ts'

export interface AdapterContext extends DeploymentContext {
  lifecycle: Lifecycle
  /** Tells whoever loads them that something changed. */
  look(): void
  adaptersMaximum: number
  /** Of an engine whose adapters take a context each. */
  adapterSets: number
  /** Folders from which they may be loaded. */
  modelPaths: readonly string[]
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

  /** Answers at once; the adapter's state says when it can be called. */
  async add(
    principal: Principal,
    idOrName: string,
    wish: AdapterWish,
    once: Once | null,
    options: RollOptions = {},
  ): Promise<AdapterView> {
    const { source, force = false, name = nameFrom(source) } = wish
    const { spec, org_id: orgId } = await allowed(this.#context, principal, idOrName, 'deployment:write')
    checkName(name)
    const path = adapterPath(source, this.#context.modelPaths)
    const file = await acceptAdapter(this.#context.db, path, { spec, orgId, force }, this.#context)
    const id = newId('ada', this.#context.clock)
    await this.#change(principal, idOrName, once, options, async (tx, row, at) => {
      const { format, rank, sizeBytes: size_bytes, bases } = file
      const base = bases[0] ?? null
      const adapter = {
        id,
        org_id: row.org_id,
        deployment_id: row.id,
        name,
        source,
        format,
        path,
        rank,
        size_bytes,
        base,
      }
      // What was accepted was accepted for this spec.
      await acceptAdapter(tx, path, { spec: row.spec, orgId, force }, this.#context)
      await this.#checkRoom(tx, row)
      if (!(await insertAdapter(tx, adapter, at)))
        throw new Fault('name_taken', `${row.name} has an adapter "${name}" already.`, {
          action: 'Choose another name, or remove the adapter that has it.',
        })
      const data = { adapter: name, adapter_id: id, source, by: principal.keyId }
      await record(tx, { orgId: row.org_id, deploymentId: row.id, type: 'adapter.added', data, at })
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
      const adapters = await adaptersOf(tx, row.id)
      const adapter = adapters.find(({ id, removed_at }) => id === found?.id && removed_at === null)
      if (adapter === undefined) throw new Fault('not_found', `${row.name} has no adapter "${nameOrId}".`)
      await removeAdapter(tx, adapter.id, at)
      const data = { adapter: adapter.name, adapter_id: adapter.id, by: principal.keyId }
      await record(tx, { orgId: row.org_id, deploymentId: row.id, type: 'adapter.removed', data, at })
    })
    return found ?? gone(nameOrId)
  }

  /** `write`, the room that its engine then needs, and what the gateways are told, in one transaction. */
  async #change(
    principal: Principal,
    idOrName: string,
    once: Once | null,
    options: RollOptions,
    write: (tx: Tx, row: DeploymentRow, at: Date) => Promise<void>,
  ): Promise<void> {
    const { lifecycle, look, engines } = this.#context
    let room: AdapterRoom | undefined
    const alongside = async (tx: Tx, row: DeploymentRow, at: Date): Promise<string[]> => {
      await write(tx, row, at)
      const engine = engines.get(row.spec.engine.type)?.adapters
      room = engine && roomFor(engine, row, await adaptersOf(tx, row.id))
      await publishAdapters(tx, row.id)
      return ['adapters']
    }
    await lifecycle.change(principal, idOrName, () => ({ engine: { adapterRoom: room } }), once, {
      ...options,
      alongside,
    })
    look()
  }

  async #checkRoom(tx: Tx, row: DeploymentRow): Promise<void> {
    const { adaptersMaximum, adapterSets, engines } = this.#context
    const { type } = row.spec.engine
    const count = (await adaptersOf(tx, row.id)).filter(({ removed_at }) => removed_at === null).length
    if (count >= adaptersMaximum)
      throw new Fault('conflict', `A deployment may have ${adaptersMaximum} adapters; ${row.name} has ${count}.`, {
        action: 'Remove one first, or ask the operator to raise adapters.maximum.',
      })
    if (engines.get(type)?.adapters?.takesContexts && count >= adapterSets)
      throw new Fault(
        'engine_unsupported',
        `The engine ${type} computes with ${adapterSets} adapters at once; ${row.name} has ${count}.`,
        { action: 'Remove one first, or ask the operator to raise adapters.sets.' },
      )
  }
}

function roomFor(engine: EngineAdapters, row: DeploymentRow, adapters: readonly AdapterRow[]): AdapterRoom | undefined {
  const called = adapters.filter(({ removed_at }) => removed_at === null)
  const needed = called.map(({ id, rank }) => ({ engineName: id, rank }))
  return engine.room(row.spec.engine.adapterRoom ?? null, needed) ?? undefined
}

function gone(name: string): never {
  throw new Fault('not_found', `The adapter "${name}" was removed meanwhile.`)
}
