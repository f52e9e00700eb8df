/**
 * What happens to uploads by itself: whole ones are checked and become ready, those told to go lose their bytes and then
 * their row, interrupted ones are given up, and bytes that no row owns are removed. Every step may be repeated, so that
 * whoever starts after a crash goes on where it was.
 */
import { record } from '../../events/store.ts'
import { Fault } from '../../kernel/fault.ts'
import { never } from '../../kernel/never.ts'
import type { UploadContext } from './context.ts'
import { uploadPrefix } from './names.ts'
import * as rows from './store.ts'
import { validate } from './validate.ts'

const idleMs = 5_000
/** A whole look at the storage: only what a crash left is found by it. */
const sweepEveryMs = 600_000
/** One control that is silent for this long receives nothing any more. */
const silentMs = 300_000
/** Validated at once: each reads a whole file. */
const advancingMaximum = 2

export class UploadLoop {
  readonly #context: UploadContext
  readonly #startedAt: Date
  readonly #advancing = new Map<string, Promise<void>>()
  #sweptAt = Number.NEGATIVE_INFINITY
  #wake: () => void = () => {}
  #woken = false

  constructor(context: UploadContext) {
    this.#context = context
    this.#startedAt = new Date(context.clock.now())
  }

  wake(): void {
    this.#woken = true
    this.#wake()
  }

  /** Runs until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log, copies } = this.#context
    // What is being brought here may wait for a bucket that is away.
    signal.addEventListener('abort', () => copies.close(), { once: true })
    await copies.clear().catch(() => {})
    while (!signal.aborted) {
      this.#woken = false
      try {
        await this.tick(signal)
      } catch (error) {
        log.error({ error: (error as Error).stack ?? String(error) }, 'the uploads stumbled')
      }
      if (this.#woken || signal.aborted) continue
      const pause = new AbortController()
      this.#wake = () => pause.abort()
      signal.addEventListener('abort', this.#wake, { once: true })
      await clock.sleep(idleMs, pause.signal)
      signal.removeEventListener('abort', this.#wake)
    }
    await Promise.all(this.#advancing.values())
  }

  /** One look at everything; what takes long goes on beside it. */
  async tick(signal: AbortSignal = new AbortController().signal): Promise<void> {
    const { clock } = this.#context
    if (clock.monotonicMs() - this.#sweptAt >= sweepEveryMs) {
      await this.sweep()
      this.#sweptAt = clock.monotonicMs()
    }
    await this.#giveUp()
    for (const row of await rows.uploadsToAdvance(this.#context.db)) {
      if (this.#advancing.has(row.id)) continue
      if (row.status === 'validating' && this.#advancing.size >= advancingMaximum) continue
      const work = this.#advance(row, signal)
        .catch((error: Error) => {
          if (signal.aborted) return
          this.#context.log.error({ upload: row.id, error: error.stack }, 'an upload stumbled')
        })
        .finally(() => {
          this.#advancing.delete(row.id)
          if (this.#advancing.size < advancingMaximum) this.#wakeSoon()
        })
      this.#advancing.set(row.id, work)
    }
  }

  /** Waits for all that is under way: for whoever ticks by hand. */
  async settle(): Promise<void> {
    do {
      await this.tick()
      await Promise.all(this.#advancing.values())
    } while (await this.#isBusy())
  }

  /** Removes what is stored and belongs to nobody. Returns their ids. */
  async sweep(): Promise<string[]> {
    const { storage, db, log } = this.#context
    const stored = await storage.list()
    const orphans = await rows.withoutOwner(db, stored)
    for (const id of orphans) {
      await storage.remove(id)
      log.info({ upload: id }, 'what was stored of an upload that nobody owns was removed')
    }
    return orphans
  }

  #wakeSoon(): void {
    if (!this.#woken) this.wake()
  }

  async #isBusy(): Promise<boolean> {
    return (await rows.uploadsToAdvance(this.#context.db)).some(({ status }) => status !== 'ready')
  }

  async #giveUp(): Promise<void> {
    const { db, clock, holder, limits, receiving } = this.#context
    const now = clock.now()
    await receiving.eachAbandoned((id) => rows.markDeleting(db, id, new Date(now)))
    const silentBefore = new Date(now - silentMs)
    const gone = await rows.abandonedUploads(db, holder, this.#startedAt, silentBefore)
    const expired = await rows.expiredUploads(db, new Date(now - limits.keptMs))
    for (const id of [...gone, ...expired]) await rows.markDeleting(db, id, new Date(now))
  }

  async #advance(row: rows.UploadRow, signal: AbortSignal): Promise<void> {
    switch (row.status) {
      case 'deleting':
        return this.#remove(row)
      case 'validating':
        return this.#validate(row, signal)
      case 'ready':
        return this.#roll(row)
      case 'uploading':
      case 'failed':
        return
      default:
        never(row.status, 'status of an upload')
    }
  }

  async #remove({ id }: rows.UploadRow): Promise<void> {
    const { storage, copies, db, receiving } = this.#context
    await receiving.stop(id, new Fault('not_found', 'The upload was deleted.'))
    await storage.remove(id)
    await copies.remove(id)
    await rows.dropUpload(db, id)
  }

  async #validate(row: rows.UploadRow, signal: AbortSignal): Promise<void> {
    const { db, clock, storage } = this.#context
    const found = await validate(this.#context, row, signal)
    if (found === null) return
    const at = new Date(clock.now())
    const to = { orgId: row.org_id, deploymentId: null, at }
    const named = { model_id: row.id, name: row.name }
    if (found instanceof Fault) {
      const { code, message } = found
      await db.tx(async (tx) => {
        if (await rows.markFailed(tx, row.id, { code, message }, at))
          await record(tx, { ...to, type: 'model.failed', data: { ...named, code, message } })
      })
      await storage.remove(row.id)
      return
    }
    const roll = row.deployment_id === null ? null : { state: 'waiting' as const, why: null }
    await db.tx(async (tx) => {
      if (!(await rows.markReady(tx, row.id, { ...found, roll }, at))) return
      const data = { ...named, size_bytes: Number(row.size_bytes), sha256: found.sha256, by: row.by_key }
      await record(tx, { ...to, type: 'model.ready', data })
    })
    if (roll !== null) this.wake()
  }

  async #roll(row: rows.UploadRow): Promise<void> {
    const { db, users, log } = this.#context
    const order = {
      orgId: row.org_id,
      deploymentId: row.deployment_id!,
      modelId: uploadPrefix + row.name,
      byKey: row.by_key,
    }
    try {
      await users.roll(order)
      await rows.setRoll(db, row.id, { state: 'done', why: null })
    } catch (thrown) {
      // What passes by itself is tried again.
      if (!(thrown instanceof Fault) || thrown.status >= 500) throw thrown
      log.warn({ upload: row.id, error: thrown.message }, 'a deployment cannot roll to an uploaded model')
      await rows.setRoll(db, row.id, { state: 'refused', why: thrown.message })
    }
  }
}
