/** What the stages need of a client's request and of the answer to it, whoever reads and writes them. */
import type { IncomingHttpHeaders } from 'node:http'
import type { Socket } from 'node:net'

export interface ClientRequest {
  readonly headers: IncomingHttpHeaders
  readonly socket: Socket
  /** The body has come whole. */
  readonly complete: boolean
  /** Whoever keeps a piece copies it: the next one is read into the same memory. */
  on(event: 'data', listener: (piece: Buffer) => void): this
  on(event: 'end', listener: () => void): this
  once(event: 'end' | 'close', listener: () => void): this
  off(event: 'data', listener: (piece: Buffer) => void): this
  off(event: 'end', listener: () => void): this
}

export interface ClientResponse {
  readonly writableEnded: boolean
  /** False before the head is written: the connection ends with this answer. */
  shouldKeepAlive: boolean
  /** Names and values in turns. */
  writeHead(status: number, headers: string[]): this
  flushHeaders(): void
  writeContinue(): void
  /** False: wait for `drain`. Without an encoding text is UTF-8. */
  write(content: string | Buffer, encoding?: BufferEncoding): boolean
  end(content?: string | Buffer, encoding?: BufferEncoding): this
  destroy(): unknown
  /** `close`: all of it has gone out, or the connection is gone. */
  on(event: 'drain' | 'close', listener: () => void): this
  off(event: 'drain' | 'close', listener: () => void): this
}
