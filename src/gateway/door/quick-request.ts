/** An ordinary request as the stages see it: its headers, and its body piece by piece. */
import type { IncomingHttpHeaders } from 'node:http'
import type { Socket } from 'node:net'
import type { ClientRequest } from './client.ts'

type Listener = (...args: never[]) => void

/** One listener for each event: nobody has more. */
export class QuickRequest implements ClientRequest {
  readonly headers: IncomingHttpHeaders
  readonly socket: Socket
  complete = false
  #onData: ((piece: Buffer) => void) | null = null
  #onEnd: (() => void) | null = null
  #onClose: (() => void) | null = null

  constructor(headers: IncomingHttpHeaders, socket: Socket) {
    this.headers = headers
    this.socket = socket
  }

  on(event: 'data' | 'end' | 'close', listener: Listener): this {
    if (event === 'data') this.#onData = listener as (piece: Buffer) => void
    else if (event === 'end') this.#onEnd = listener as () => void
    else this.#onClose = listener as () => void
    return this
  }

  once(event: 'end' | 'close', listener: () => void): this {
    return this.on(event, listener)
  }

  off(event: 'data' | 'end', listener: Listener): this {
    if (event === 'data' && this.#onData === listener) this.#onData = null
    if (event === 'end' && this.#onEnd === listener) this.#onEnd = null
    return this
  }

  /** What nobody listens for is dropped. */
  came(piece: Buffer): void {
    this.#onData?.(piece)
  }

  ended(): void {
    this.complete = true
    this.#onData = null
    const tell = this.#onEnd
    this.#onEnd = null
    tell?.()
  }

  /** The connection is gone. */
  closed(): void {
    const tell = this.#onClose
    this.#onClose = null
    tell?.()
  }
}
