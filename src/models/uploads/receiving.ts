/**
 * Who is receiving what in this process. One connection at a time writes to an upload: the newest, because the one
 * before it is most often dead and does not know yet.
 */

import { Fault } from '../../kernel/fault.ts'
import type { KnownBase } from '../supported/judge.ts'
import { Intake } from './intake.ts'
import { receivingMaximum } from './limits.ts'

interface Connection {
  stop(why: Fault): void
  ended: Promise<void>
}

/** Bytes already seen of uploads that were interrupted: without them a file is read again before it is ready. */
const intakesMaximum = 64

export class Receiving {
  readonly #connections = new Map<string, Connection>()
  readonly #intakes = new Map<string, Intake>()
  readonly #abandoned = new Set<string>()
  #count = 0

  /** Runs `work` as the only connection of this upload. `stopped` rejects when another takes its place. */
  async only<T>(id: string, work: (stopped: Promise<never>) => Promise<T>): Promise<T> {
    if (this.#count >= receivingMaximum)
      throw new Fault(
        'concurrency_limited',
        `This server receives ${receivingMaximum} uploads at once, and not one more.`,
        {
          action: 'Try again when another upload has ended.',
          retryAfterSeconds: 10,
        },
      )
    this.#count += 1
    try {
      await this.stop(id, new Fault('conflict', 'The upload is gone on with over another connection.'))
      const { promise: stopped, reject: stop } = Promise.withResolvers<never>()
      stopped.catch(() => {})
      const working = work(stopped)
      const connection = { stop, ended: working.then(nothing, nothing) }
      this.#connections.set(id, connection)
      return await working.finally(() => {
        if (this.#connections.get(id) === connection) this.#connections.delete(id)
      })
    } finally {
      this.#count -= 1
    }
  }

  /** Ends the connection that is writing to it, and waits until it has let go. */
  async stop(id: string, why: Fault): Promise<void> {
    for (let other = this.#connections.get(id); other !== undefined; other = this.#connections.get(id)) {
      other.stop(why)
      await other.ended
    }
  }

  /** What is known of its first `bytes` bytes; null = they have to be read again when all is there. */
  intakeAt(id: string, bytes: number, known: readonly KnownBase[]): Intake | null {
    const intake = bytes === 0 ? new Intake(known) : (this.#intakes.get(id) ?? null)
    this.#intakes.delete(id)
    return intake?.bytes === bytes ? intake : null
  }

  keep(id: string, intake: Intake | null): void {
    if (intake === null) return
    this.#intakes.set(id, intake)
    const [oldest] = this.#intakes.keys()
    if (this.#intakes.size > intakesMaximum) this.#intakes.delete(oldest!)
  }

  /** Broken off while the database was away: it is told of it when it is back. */
  abandon(id: string): void {
    this.#abandoned.add(id)
  }

  async eachAbandoned(tell: (id: string) => Promise<unknown>): Promise<void> {
    for (const id of [...this.#abandoned]) {
      await tell(id)
      this.#abandoned.delete(id)
    }
  }

  forget(id: string): void {
    this.#intakes.delete(id)
  }
}

function nothing(): void {}
