/**
 * A question about many machines that is asked again and again: the asker tells which came and went since it asked last,
 * and is told only of what is not as it was then. Each answer has a number; whoever did not get the last one (or asks
 * another process than before) is asked to begin anew, so that nothing is missed.
 */
import type { ReplicaId } from '../../kernel/ids.ts'
import { randomToken } from '../../runtime/ids.ts'
import type { Observation } from '../contract.ts'

export interface Question {
  /** Who asks. */
  asker: string
  /** The last answer that it got; 0 = it begins. */
  answered: number
  came: ReplicaId[]
  went: ReplicaId[]
}

/** null = begin anew. */
export type Answer = { number: number; changed: [ReplicaId, Observation][] } | null

/** Askers that are remembered; the one that began first is forgotten first. */
const askersMaximum = 8
/** Machines that come in one question: within what the door reads. */
const cameAtOnce = 10_000

type ObserveAll = (ids: readonly ReplicaId[]) => Promise<Map<ReplicaId, Observation>>

/** The side that is asked. */
export class Standing {
  readonly #observeAll: ObserveAll
  /** Asker → what it was told of each, as text. */
  readonly #told = new Map<string, { number: number; of: Map<ReplicaId, string> }>()

  constructor(observeAll: ObserveAll) {
    this.#observeAll = observeAll
  }

  async answer({ asker, answered, came, went }: Question): Promise<Answer> {
    const before = this.#told.get(asker)
    if (answered > 0 && before?.number !== answered) return null
    const told = answered > 0 && before ? before : { number: 0, of: new Map<ReplicaId, string>() }
    // Should another question of the same asker come meanwhile, it finds another number and begins anew.
    told.number += 1
    const { number } = told
    this.#remember(asker, told)
    for (const id of went) told.of.delete(id)
    for (const id of came) told.of.set(id, '')
    const changed: [ReplicaId, Observation][] = []
    for (const [id, seen] of await this.#observeAll([...told.of.keys()])) {
      const text = JSON.stringify(seen)
      if (told.of.get(id) === text) continue
      told.of.set(id, text)
      changed.push([id, seen])
    }
    return { number, changed }
  }

  #remember(asker: string, told: { number: number; of: Map<ReplicaId, string> }): void {
    this.#told.set(asker, told)
    const [oldest] = this.#told.keys()
    if (this.#told.size > askersMaximum) this.#told.delete(oldest!)
  }
}

/** The side that asks. One question at a time. */
export class Asking {
  readonly #ask: (question: Question) => Promise<Answer>
  #asker = ''
  #answered = 0
  #seen = new Map<ReplicaId, Observation | null>()

  constructor(ask: (question: Question) => Promise<Answer>) {
    this.#ask = ask
  }

  /** Throws what asking throws. */
  async observeAll(ids: readonly ReplicaId[]): Promise<Map<ReplicaId, Observation>> {
    for (;;) {
      if (this.#answered === 0) this.#begin()
      const came = ids.filter((id) => !this.#seen.has(id))
      const wanted = this.#seen.size + came.length > ids.length ? new Set(ids) : null
      const went = wanted === null ? [] : [...this.#seen.keys()].filter((id) => !wanted.has(id))
      const some = came.slice(0, cameAtOnce)
      const question = { asker: this.#asker, answered: this.#answered, came: some, went }
      // Without an answer nobody knows whether it was heard.
      this.#answered = 0
      const answer = await this.#ask(question)
      if (answer === null) continue
      for (const id of went) this.#seen.delete(id)
      for (const id of some) this.#seen.set(id, null)
      for (const [id, seen] of answer.changed) this.#seen.set(id, seen)
      this.#answered = answer.number
      if (some.length === came.length) return new Map(ids.map((id) => [id, this.#seen.get(id)!]))
    }
  }

  #begin(): void {
    this.#asker = randomToken(12)
    this.#seen = new Map()
  }
}
