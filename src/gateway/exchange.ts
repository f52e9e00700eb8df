/** One inference request from its first byte to its settlement: what every stage knows of it. */
import type { Principal } from '../access/permissions.ts'
import type { Route } from '../deployments/routes.ts'
import type { InferenceRoute } from '../engines/contract.ts'
import type { Fault } from '../kernel/fault.ts'
import type { Rostered } from '../kernel/roster.ts'
import type { Opened } from '../usage/journal/batch.ts'
import type { AdapterAsk } from './adapters.ts'
import type { ClientRequest, ClientResponse } from './door/client.ts'
import type { Admission } from './limits/admission.ts'
import type { Ask } from './parse.ts'
import type { Link } from './replicas.ts'
import type { Prompt } from './routing/prompt.ts'

export interface Meant {
  route: InferenceRoute
  orgId: string | null
  deploymentId: string | null
}

/** The client hung up before the answer was complete; nobody is there to read an error. */
export class ClientGone extends Error {
  constructor() {
    super('the client closed the connection')
  }
}

export class Exchange implements Rostered {
  slot = -1
  readonly requestId: string
  readonly clientRequestId: string | null
  readonly request: ClientRequest
  readonly response: ClientResponse
  readonly meant: Meant
  readonly receivedAt: number
  /** Monotonic ms. */
  readonly startedAt: number

  principal: Principal | null = null
  ask: Ask | null = null
  deployment: Route | null = null
  /** null = the model as it is. */
  adapters: AdapterAsk | null = null
  replicaId: string | null = null
  /** Replicas that may have seen it: it is not sent to them again. */
  seenBy: Set<string> | null = null
  /** The replica that has it now, and how many of its tokens are counted there: to be read, to be written. */
  link: Link | null = null
  unreadTokens = 0
  answerTokens = 0
  /** Of the answer, once it is settled. */
  answeredTokens = 0
  prompt: Prompt | null = null

  /** The client closed its side before we ended the answer. */
  gone = false
  /** Whichever stage is waiting hears here, once, why it need not: the client is gone, or the server stops. */
  interrupted: ((why: ClientGone | Fault) => void) | null = null
  /** The event stream to the client has begun (200 is on the wire). */
  streaming = false
  /** It stands in the journal as begun, or is served without that. */
  begun = false
  opened: Opened | null = null
  settled = false
  /** What limits count of it; null = none does. */
  admission: Admission | null = null
  /** `x-ratelimit-*`; null = it has no such limit. */
  rateHeaders: string[] | null = null
  /** 0 to 4: its share of those who wait. */
  priority = 0

  /** When its client hears again that it waits, monotonic ms; null = it has not been held. */
  commentAt: number | null = null

  authMs = 0
  /** Parsing, finding the deployment, building the engine's body. */
  routeMs = 0
  heldMs = 0
  ttftMs: number | null = null
  /** From the first content to the last chunk so far; the longest pause between two chunks since. */
  streamingMs = 0
  longestPauseMs = 0
  bytesIn = 0
  bytesOut = 0

  constructor(
    ids: { requestId: string; clientRequestId: string | null },
    request: ClientRequest,
    response: ClientResponse,
    meant: Meant,
    times: { receivedAt: number; startedAt: number },
  ) {
    this.requestId = ids.requestId
    this.clientRequestId = ids.clientRequestId
    this.request = request
    this.response = response
    this.meant = meant
    this.receivedAt = times.receivedAt
    this.startedAt = times.startedAt
  }

  /** The id that the client sees. */
  get shownId(): string {
    return this.clientRequestId ?? this.requestId
  }

  /** A part of the answer is here: the first thing that a person would see, or more since. */
  contentCame(now: number): void {
    const sinceStart = now - this.startedAt
    if (this.ttftMs === null) {
      this.ttftMs = sinceStart
      this.link?.read(this.unreadTokens)
      this.unreadTokens = 0
      return
    }
    const at = sinceStart - this.ttftMs
    const pause = at - this.streamingMs
    if (pause > this.longestPauseMs) this.longestPauseMs = pause
    this.streamingMs = at
  }

  /** The response is done, or its connection is. */
  closed(): void {
    if (this.response.writableEnded) return
    this.gone = true
    this.interrupt(new ClientGone())
  }

  interrupt(why: ClientGone | Fault): void {
    const tell = this.interrupted
    this.interrupted = null
    tell?.(why)
  }
}

const safeId = /^[A-Za-z0-9._:/+=@-]{1,128}$/

/** The client's request id when it can be echoed and logged as it is. */
export function clientRequestId(header: string | string[] | undefined): string | null {
  return typeof header === 'string' && safeId.test(header) ? header : null
}
