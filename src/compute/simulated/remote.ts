/**
 * The driver of a simulated provider in another process, through its door. Holds no state but where the door was, and
 * what it heard last where it asks about many.
 */
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import type { ReplicaId } from '../../kernel/ids.ts'
import { readJsonIfThere } from '../../runtime/files.ts'
import {
  type ComputeDriver,
  ComputeError,
  type ComputeMeaning,
  type Observation,
  type Offer,
  type ReplicaOrder,
} from '../contract.ts'
import { provider } from './capacity.ts'
import { type Calls, type DoorAddress, doorPath } from './door.ts'
import { engineAddress } from './doorways.ts'
import { launchOf } from './provider.ts'
import { Asking } from './standing.ts'

const silentWithinMs = 120_000
const connectionsMaximum = 64
/** Replicas in one question: within what the door reads. */
const idsAtOnce = 10_000
/** As many are asked about again and again: then only what changed is told. */
const manyLeast = 500

/** Where a provider says in its folder how it is reached. */
export function doorFile(folder: string): string {
  return join(folder, 'door.json')
}

export class RemoteSimulatedCompute implements ComputeDriver {
  readonly name = provider
  readonly #path: string
  readonly #agent = new Agent({ keepAlive: true, maxSockets: connectionsMaximum, timeout: silentWithinMs })
  readonly #asking = new Asking((question) => this.#call('observeAgain', question))
  #isAsking = false
  #door: DoorAddress | null = null

  /** `folder`: where the provider keeps its things. */
  constructor(folder: string) {
    this.#path = doorFile(folder)
  }

  offers(): Promise<Offer[]> {
    return this.#call('offers')
  }

  async create(order: ReplicaOrder): Promise<void> {
    const { id, placement } = order
    await this.#call('place', { id, placement, launch: launchOf(order, { address: engineAddress, ...this.#where() }) })
  }

  observe(id: ReplicaId): Promise<Observation> {
    return this.#call('observe', id)
  }

  async observeAll(ids: readonly ReplicaId[]): Promise<Map<ReplicaId, Observation>> {
    if (ids.length >= manyLeast && !this.#isAsking) return this.#observeMany(ids)
    const all = new Map<ReplicaId, Observation>()
    for (let from = 0; from < ids.length; from += idsAtOnce) {
      const some = ids.slice(from, from + idsAtOnce)
      const seen: Observation[] = await this.#call('observeAll', some)
      for (const [at, id] of some.entries()) all.set(id, seen[at]!)
    }
    return all
  }

  async #observeMany(ids: readonly ReplicaId[]): Promise<Map<ReplicaId, Observation>> {
    this.#isAsking = true
    try {
      return await this.#asking.observeAll(ids)
    } finally {
      this.#isAsking = false
    }
  }

  list(): Promise<ReplicaId[]> {
    return this.#call('list')
  }

  async delete(id: ReplicaId, options: { graceSeconds?: number } = {}): Promise<void> {
    await this.#call('delete', id, options)
  }

  logs(id: ReplicaId, lines: number): Promise<string[]> {
    return this.#call('logs', id, lines)
  }

  async renew(): Promise<void> {}

  async endAll(): Promise<void> {
    await this.#call('endAll')
  }

  #where(): DoorAddress {
    this.#door ??= readJsonIfThere<DoorAddress>(this.#path)
    if (this.#door === null) throw new ComputeError('unavailable', 'The simulated provider has not started yet.')
    return this.#door
  }

  // biome-ignore lint/suspicious/noExplicitAny: each caller says what its call gives
  async #call<C extends keyof Calls>(name: C, ...args: Calls[C]): Promise<any> {
    const door = this.#where()
    const said = await ask(this.#agent, door, name, JSON.stringify(args)).catch((error: Error) => {
      // It may be somewhere else by now.
      this.#door = null
      throw new ComputeError('unavailable', `The simulated provider does not answer: ${error.message}`, error)
    })
    return resultOf(said)
  }
}

function ask(agent: Agent, { port, key }: DoorAddress, call: string, body: string): Promise<unknown> {
  return new Promise((answered, failed) => {
    const headers = {
      authorization: `Bearer ${key}`,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    }
    const asked = request(
      { agent, host: engineAddress, port, path: `${doorPath}calls/${call}`, method: 'POST', headers },
      (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (part: string) => {
          text += part
        })
        response.on('error', failed)
        response.on('end', () => {
          try {
            answered(JSON.parse(text))
          } catch (error) {
            failed(error as Error)
          }
        })
      },
    )
    asked.on('timeout', () => asked.destroy(new Error('it is silent')))
    asked.on('error', failed)
    asked.end(body)
  })
}

function resultOf(body: unknown): unknown {
  const { result, error } = body as { result?: unknown; error?: { meaning?: ComputeMeaning; message: string } }
  if (error === undefined) return result
  throw new ComputeError(error.meaning ?? 'unavailable', error.message)
}
