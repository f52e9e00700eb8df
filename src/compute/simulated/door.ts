/**
 * The simulated provider's own HTTP API: what its driver in another process calls, and where a person or a test makes
 * trouble. Everything needs the provider's key.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ReplicaId } from '../../kernel/ids.ts'
import { ComputeError, type ComputeMeaning } from '../contract.ts'
import type { Order, SimulatedCompute } from './provider.ts'
import { trouble } from './script.ts'
import { type Question, Standing } from './standing.ts'

/** Paths of the door begin so; everything else on the port is for engines. */
export const doorPath = '/simulated/'
/** Enough to ask about a hundred thousand machines. */
const bodyBytesMaximum = 4 * 1024 * 1024

/** Where the door is and what opens it, as written in the data folder. */
export interface DoorAddress {
  port: number
  key: string
}

/** A call of the driver: name → arguments and result. */
export interface Calls {
  offers: []
  place: [order: Order]
  observe: [id: ReplicaId]
  observeAll: [ids: ReplicaId[]]
  observeAgain: [question: Question]
  list: []
  delete: [id: ReplicaId, options: { graceSeconds?: number }]
  logs: [id: ReplicaId, lines: number]
  endAll: []
}

const statuses: Record<ComputeMeaning, number> = {
  not_found: 404,
  capacity_short: 409,
  rejected: 422,
  not_ready: 503,
  unavailable: 503,
}

class BadRequest extends Error {}

export class Door {
  readonly #compute: SimulatedCompute
  readonly #key: string
  readonly #standing: Standing

  constructor(compute: SimulatedCompute, key: string) {
    this.#compute = compute
    this.#key = key
    this.#standing = new Standing((ids) => compute.observeAll(ids))
  }

  readonly serve = (request: IncomingMessage, response: ServerResponse): void => {
    void this.#answer(request).then(
      (result) => send(response, 200, { result }),
      (error: Error) => {
        if (error instanceof ComputeError)
          send(response, statuses[error.meaning], { error: { meaning: error.meaning, message: error.message } })
        else send(response, error instanceof BadRequest ? 400 : 500, { error: { message: error.message } })
      },
    )
  }

  async #answer(request: IncomingMessage): Promise<unknown> {
    if (request.headers.authorization !== `Bearer ${this.#key}`)
      throw new ComputeError('rejected', 'This is not the key of the simulated provider.')
    const [what, which] = (request.url ?? '').slice(doorPath.length).split('/') as [string, string | undefined]
    const asked = `${request.method} ${what}`
    if (asked === 'POST calls') return this.#call(which as keyof Calls, await read(request))
    if (asked === 'GET troubles') return this.#compute.troubles()
    if (asked === 'POST troubles') return this.#addTrouble(await read(request))
    if (asked === 'DELETE troubles') return this.#compute.endTrouble(which ?? '')
    if (asked === 'GET running') return this.#compute.running().map(({ id, placement }) => ({ id, ...placement }))
    throw new BadRequest(`There is no ${asked} here: GET, POST, DELETE troubles and GET running.`)
  }

  async #call<C extends keyof Calls>(name: C, args: unknown): Promise<unknown> {
    const compute = this.#compute
    const calls: { [N in keyof Calls]: (...args: Calls[N]) => unknown } = {
      offers: () => compute.offers(),
      place: (order) => compute.place(order),
      observe: (id) => compute.observe(id),
      observeAll: async (ids) => [...(await compute.observeAll(ids)).values()],
      observeAgain: (question) => this.#standing.answer(question),
      list: () => compute.list(),
      delete: (id, options) => compute.delete(id, options),
      logs: (id, lines) => compute.logs(id, lines),
      endAll: () => compute.endAll(),
    }
    if (!Object.hasOwn(calls, name)) throw new BadRequest(`There is no call ${name}.`)
    return calls[name](...(args as Calls[C]))
  }

  #addTrouble(body: unknown): unknown {
    const parsed = trouble.safeParse(body)
    if (parsed.success) return this.#compute.addTrouble(parsed.data)
    throw new BadRequest(parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; '))
  }
}

function send(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body)
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
  response.end(text)
}

async function read(request: IncomingMessage): Promise<unknown> {
  let text = ''
  for await (const part of request.setEncoding('utf8')) {
    text += part
    if (text.length > bodyBytesMaximum) throw new BadRequest(`The body is larger than ${bodyBytesMaximum} bytes.`)
  }
  try {
    return JSON.parse(text)
  } catch {
    throw new BadRequest('The body is not valid JSON.')
  }
}
