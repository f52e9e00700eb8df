/** Use cases of the catalogue: the operator adds models; everybody else sees them. */
import { type Once, runOnce } from '../access/once.ts'
import type { Principal } from '../access/permissions.ts'
import { record } from '../events/store.ts'
import { Fault } from '../kernel/fault.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Seal } from '../runtime/seal.ts'
import type { Database } from '../store/database.ts'
import type { ModelCatalogue } from './catalogue.ts'
import { type CatalogueModel, type ModelEntry, modelOf } from './entry.ts'
import { operatorsModel } from './local-file.ts'
import * as store from './store.ts'
import type { CatalogueUser, UsersOf } from './users.ts'

export interface ModelsContext {
  db: Database
  seal: Seal
  clock: Clock
  models: ModelCatalogue
  users: UsersOf
}

/** Most models that are added over the API. */
export const addedMaximum = 1_000

export class Models {
  readonly #context: ModelsContext
  constructor(context: ModelsContext) {
    this.#context = context
  }

  /** What was added since, also by another control: a small table, read before anybody is told what there is. */
  async refresh(): Promise<ModelCatalogue> {
    const { db, models } = this.#context
    const entries = await store.addedEntries(db)
    models.setAdded(entries.flatMap((entry) => readable(entry)))
    return models
  }

  /**
   * Adds a model, or with `replace` changes one that was added. What runs of it goes on as it is; its next start is of
   * the new entry. Throws Fault `forbidden` to all but the operator, `name_taken`, `invalid_request`,
   * `model_not_supported`.
   */
  async add(
    principal: Principal,
    entry: ModelEntry,
    once: Once | null,
    { replace = false }: { replace?: boolean } = {},
  ): Promise<CatalogueModel> {
    const { db, seal, clock, models } = this.#context
    if (!principal.operator) throw new Fault('forbidden', 'Only the operator may add models.')
    const model = modelOf(entry, 'api')
    if (model.source.kind === 'file') operatorsModel(model.source.path)
    const before = models.addedBy(entry.id)
    if (before === 'paddock' || before === 'file') throw taken(entry.id, before)
    await runOnce(db, seal, clock, principal.orgId, once, async (tx) => {
      await store.lockEntries(tx)
      const at = new Date(clock.now())
      if (!(await store.saveEntry(tx, entry, replace, at))) throw taken(entry.id, 'api')
      if ((await store.countEntries(tx)) > addedMaximum)
        throw new Fault('conflict', `There are ${addedMaximum} added models already; name further ones in a file.`)
      const data = { model_id: entry.id, by: principal.keyId }
      await record(tx, { orgId: principal.orgId, deploymentId: null, type: 'model.added', data, at })
      return {}
    })
    await this.refresh()
    return model
  }

  /**
   * Takes an entry out that was added over the API. Throws Fault `forbidden` to all but the operator, `not_found`, and
   * `conflict` while a deployment uses it or when it came by another way.
   */
  async remove(principal: Principal, id: string): Promise<CatalogueModel> {
    const { db, clock, models, users } = this.#context
    if (!principal.operator) throw new Fault('forbidden', 'Only the operator may remove models.')
    await this.refresh()
    const model = models.find(id)
    if (model !== null && model.addedBy !== 'api') throw fixed(id, model.addedBy)
    await db.tx(async (tx) => {
      if (!(await store.lockEntry(tx, id))) throw notThere(id)
      const used = await users(tx, id)
      if (used.length > 0) throw inUse(id, used)
      await store.removeEntry(tx, id)
      const data = { model_id: id, by: principal.keyId }
      const at = new Date(clock.now())
      await record(tx, { orgId: principal.orgId, deploymentId: null, type: 'model.removed', data, at })
    })
    await this.refresh()
    return model ?? unreadable(id)
  }
}

/** An entry of before that this version cannot read is left out: it must not take the others with it. */
function readable(entry: ModelEntry): CatalogueModel[] {
  try {
    return [modelOf(entry, 'api')]
  } catch {
    return []
  }
}

/** What is said of an entry that this version could not read, and that is gone now. */
function unreadable(id: string): CatalogueModel {
  return modelOf({ id, context_size: 1, tensor_type: 'unknown', deployable: false }, 'api')
}

function fixed(id: string, by: 'paddock' | 'file'): Fault {
  const says = {
    paddock: `"${id}" ships with Paddock and stays in the catalogue.`,
    file: `"${id}" is in the file of models.catalogue; take it out there.`,
  }
  const action = {
    paddock: 'To keep others from deploying it, name it in the file of models.catalogue with "deployable": false.',
    file: 'Change the file and start the server again.',
  }
  return new Fault('conflict', says[by], { action: action[by] })
}

function notThere(id: string): Fault {
  return new Fault('not_found', `There is no model "${id}" in the catalogue.`)
}

function inUse(id: string, users: readonly CatalogueUser[]): Fault {
  const names = users.map(({ name, orgId }) => `${name} (${orgId})`).join(', ')
  const detail = { deployments: users.map(({ id, name, orgId }) => ({ id, name, org_id: orgId })) }
  return new Fault('conflict', `"${id}" is used by ${names}.`, {
    action: 'Delete these deployments, or have them run another model; then remove it.',
    detail,
  })
}

function taken(id: string, by: 'paddock' | 'file' | 'api'): Fault {
  const says = {
    paddock: `There is a model "${id}" already: it ships with Paddock. Choose another id, or name it in the file of models.catalogue.`,
    file: `There is a model "${id}" already: it is in the file of models.catalogue. Change it there.`,
    api: `There is a model "${id}" already. Send "replace": true to change it.`,
  }
  return new Fault('name_taken', says[by], { action: 'Choose another id, or change the entry that has it.' })
}
