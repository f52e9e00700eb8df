/**
 * The deployments that are to run, as the autoscaler knows them: read whole once, then what was written since, and a part
 * of all at every look, so that whatever is not seen in time is seen after a while. Small installations have no more than
 * one part.
 */
import type { Database } from '../store/database.ts'
import { changedRows, runningRows, type ScaledRow } from './store.ts'

/** Rows of one part. */
const partSize = 500
/** Parts are read no more often than this, however often somebody asks. */
const partEveryMs = 900
/** A transaction that wrote a row may commit this long after the moment that it wrote into it. */
const lateMs = 5_000

export class Rows {
  readonly #db: Database
  readonly #partSize: number
  readonly #byId = new Map<string, ScaledRow>()
  /** Replica → its deployment. */
  readonly #ownerOf = new Map<string, string>()
  #readAt: number | null = null
  #partAt = 0
  /** The last id of the part before; '' = the next one is the first. */
  #cursor = ''

  constructor(db: Database, size = partSize) {
    this.#db = db
    this.#partSize = size
  }

  get(id: string): ScaledRow | undefined {
    return this.#byId.get(id)
  }

  /** The deployment of a replica that may hold requests. */
  readonly ownerOf = (replicaId: string): string | undefined => this.#ownerOf.get(replicaId)

  ids(): Iterable<string> {
    return this.#byId.keys()
  }

  /** Reads; gives the ids whose rows are new, changed or gone. */
  async refresh(now: number): Promise<Set<string>> {
    const changed = new Set<string>()
    const since = this.#readAt
    if (since === null) {
      do await this.#readPart(changed)
      while (this.#cursor !== '')
    } else {
      // A clock that was set back must not hide what is written from now on.
      for (const row of await changedRows(this.#db, new Date(Math.min(since, now) - lateMs)))
        this.#put(row.id, row.runs ? row : null, changed)
      if (Math.abs(now - this.#partAt) >= partEveryMs) await this.#readPart(changed)
    }
    if (since === null || Math.abs(now - this.#partAt) >= partEveryMs) this.#partAt = now
    this.#readAt = now
    return changed
  }

  async #readPart(changed: Set<string>): Promise<void> {
    const rows = await runningRows(this.#db, this.#cursor, this.#partSize)
    const from = this.#cursor
    const to = rows.length < this.#partSize ? null : rows.at(-1)!.id
    const there = new Set(rows.map(({ id }) => id))
    for (const id of this.#byId.keys())
      if (id > from && (to === null || id <= to) && !there.has(id)) this.#put(id, null, changed)
    for (const row of rows) this.#put(row.id, row, changed)
    this.#cursor = to ?? ''
  }

  #put(id: string, row: ScaledRow | null, changed: Set<string>): void {
    const before = this.#byId.get(id)
    if (row === null && before === undefined) return
    if (row === null || before === undefined || !isSame(before, row)) changed.add(id)
    for (const replica of before?.replica_ids ?? []) this.#ownerOf.delete(replica)
    for (const replica of row?.replica_ids ?? []) this.#ownerOf.set(replica, id)
    if (row === null) this.#byId.delete(id)
    else this.#byId.set(id, row)
  }
}

/** What is not compared changes together with the moment of the last change. */
function isSame(a: ScaledRow, b: ScaledRow): boolean {
  return (
    a.updated_at.getTime() === b.updated_at.getTime() &&
    a.desired_replicas === b.desired_replicas &&
    a.ready_replicas === b.ready_replicas &&
    a.replica_ids.join() === b.replica_ids.join() &&
    JSON.stringify([a.scaling, a.calendar, a.limited]) === JSON.stringify([b.scaling, b.calendar, b.limited])
  )
}
