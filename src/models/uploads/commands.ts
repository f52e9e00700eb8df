/**
 * Use cases of models that organisations bring themselves. A row comes before the first byte and goes after the last;
 * what happens between whole and ready is the loop's (loop.ts).
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import { type Once, runOnce } from '../../access/once.ts'
import { can, type Principal } from '../../access/permissions.ts'
import { record } from '../../events/store.ts'
import { newId } from '../../runtime/ids.ts'
import type { UploadContext } from './context.ts'
import { alreadyGone, inUse, lacks, noRoom, notThere, taken, tooMany } from './faults.ts'
import { openForm, readForm } from './form.ts'
import { comingMaximum, formBytesMaximum, setAside, type UploadLimits } from './limits.ts'
import { checkName, uploadPrefix } from './names.ts'
import { FormReception } from './receive.ts'
import * as rows from './store.ts'
import { type UploadView, viewOf } from './view.ts'

const listedMaximum = 1000

export interface UploadWish {
  /** null = the form will say. */
  name: string | null
  /** Of the file at most; null = unknown. */
  bytes: number | null
  /** Id or name of the deployment that rolls to it. */
  deployment: string | null
  resumable: boolean
}

export class Uploads {
  readonly #context: UploadContext
  constructor(context: UploadContext) {
    this.#context = context
  }

  get limits(): UploadLimits {
    return this.#context.limits
  }

  /**
   * The whole form at once. Who asks, the quota and the announced length are checked before anything of it is read.
   * Throws Faults; whatever is thrown, nothing stays.
   */
  async receive(
    principal: Principal,
    headers: IncomingHttpHeaders,
    body: Readable,
    once: Once | null,
  ): Promise<UploadView> {
    const { db, clock, receiving, limits } = this.#context
    const form = openForm(headers)
    const length = headers['content-length']
    const bytes = length === undefined ? null : Math.max(1, Number(length) - formBytesMaximum)
    const wish = { name: null, bytes, deployment: null, resumable: false }
    const { row, replayed } = await this.begin(principal, wish, once)
    if (replayed) return viewOf(row)
    try {
      await receiving.only(row.id, async () => {
        // What is left for it when the form around it is smaller than it may be.
        const size_bytes = length === undefined ? row.size_bytes : Math.min(Number(length), limits.fileBytes)
        const reception = new FormReception(this.#context, principal, { ...row, size_bytes })
        await readForm(body, form, reception)
        await reception.finish()
      })
    } catch (thrown) {
      // Its bytes go with the next look of the loop, which a crash from here on does not prevent.
      await rows.markDeleting(db, row.id, new Date(clock.now())).catch(() => receiving.abandon(row.id))
      this.#context.wake()
      throw thrown
    }
    this.#context.wake()
    return viewOf((await rows.uploadById(db, row.id)) ?? row)
  }

  /** The row of an upload, before its first byte; `replayed`: it was begun by an earlier request. Throws Faults. */
  async begin(
    principal: Principal,
    wish: UploadWish,
    once: Once | null,
  ): Promise<{ row: rows.UploadRow; replayed: boolean }> {
    const { db, clock, seal, limits, users, holder } = this.#context
    if (!can(principal, 'deployment:write')) throw lacks('deployment:write')
    const name = wish.name === null ? null : checkName(wish.name)
    const deploymentId = wish.deployment === null ? null : await users.check(principal, wish.deployment)
    const { orgId: org_id, keyId: by_key } = principal
    const at = new Date(clock.now())
    const room = (await this.#context.storage.room?.()) ?? Number.POSITIVE_INFINITY
    const { result, replayed } = await runOnce(db, seal, clock, org_id, once, async (tx) => {
      const id = newId('mdl', clock)
      await rows.lockUploads(tx, org_id)
      if ((await rows.countComing(tx, org_id)) >= comingMaximum) throw tooMany()
      const size_bytes = setAside(wish.bytes, await rows.bytesOf(tx, org_id), limits)
      if ((wish.bytes ?? 0) > room) throw noRoom()
      const row = {
        id,
        org_id,
        name,
        resumable: wish.resumable,
        size_bytes,
        deployment_id: deploymentId,
        by_key,
        holder,
      }
      if (!(await rows.insertUpload(tx, row, at))) throw taken(name ?? '')
      return { id }
    })
    const row = await rows.uploadById(db, result.id)
    if (row === null || row.status === 'deleting') throw alreadyGone()
    return { row, replayed }
  }

  async get(principal: Principal, idOrName: string): Promise<UploadView> {
    if (!can(principal, 'deployment:read')) throw lacks('deployment:read')
    return viewOf(await this.row(principal, idOrName))
  }

  /** Newest first; none for a key that may look at single deployments only. */
  async list(principal: Principal): Promise<UploadView[]> {
    if (!can(principal, 'deployment:read')) return []
    return (await rows.uploadsOf(this.#context.db, principal.orgId, listedMaximum)).map(viewOf)
  }

  /** Also while it is still coming. Its name is free at once. Throws Fault `conflict` while a deployment needs it. */
  async delete(principal: Principal, idOrName: string): Promise<UploadView> {
    const { db, clock, users, receiving } = this.#context
    if (!can(principal, 'deployment:write')) throw lacks('deployment:write')
    const { id, org_id } = await this.row(principal, idOrName)
    const at = new Date(clock.now())
    const row = await db.tx(async (tx) => {
      // Before the row: nobody can begin to need it from here on.
      const named = await rows.uploadById(tx, id)
      const holders = named?.name ? await users.using(tx, org_id, uploadPrefix + named.name) : []
      const row = await rows.lockUpload(tx, id)
      if (row === null || row.status === 'deleting') throw notThere(idOrName)
      if (row.status === 'ready' && holders.length > 0) throw inUse(row.name!, holders)
      await rows.markDeleting(tx, id, at)
      const data = { model_id: id, name: row.name, by: principal.keyId }
      await record(tx, { orgId: org_id, deploymentId: null, type: 'model.delete_asked', data, at })
      return row
    })
    await receiving.stop(id, notThere(idOrName))
    receiving.forget(id)
    this.#context.wake()
    return viewOf(row)
  }

  /** Of the caller's organisation, by id or name. Throws Fault `not_found`. */
  async row({ orgId }: Principal, idOrName: string): Promise<rows.UploadRow> {
    const { db } = this.#context
    const row = (await rows.uploadById(db, idOrName)) ?? (await rows.uploadNamed(db, orgId, idOrName))
    if (row === null || row.org_id !== orgId || row.status === 'deleting') throw notThere(idOrName)
    return row
  }
}
