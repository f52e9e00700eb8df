/**
 * Uploads of models on their way to control: as long as they like, no faster than the rate, and answered early when
 * control has seen enough. Then the answer goes out first and a little more is read, because a connection that is reset
 * while it sends hides the answer.
 */
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http'
import type { Deadlines } from '../runtime/deadlines.ts'
import { answerEarly } from './body.ts'
import type { Pace } from './pace.ts'

/** Most that is still read of an upload that was answered before its end. */
export const uploadDiscardMaximumBytes = 8_000_000
/** Most of an early answer that is passed on. */
const answerMaximumBytes = 256 * 1024

const uploadForm = /^\/api\/v1\/public\/models\/upload(?:\?|$)/
const uploadPart = /^\/api\/v1\/public\/models\/uploads\/[\w-]+(?:\?|$)/

/** Control has a limit of its own for these, and looks at who asks before it reads. */
export function isUpload({ method, url }: IncomingMessage): boolean {
  if (url === undefined) return false
  // A piece may also be posted: tus has a header for clients that cannot PATCH.
  if (method === 'POST') return uploadForm.test(url) || uploadPart.test(url)
  return method === 'PATCH' && uploadPart.test(url)
}

export class UploadPassage {
  readonly #request: IncomingMessage
  readonly #onward: ClientRequest
  readonly #deaf: () => void
  #over = false

  /** Begins at once. `came` is called for every piece. */
  constructor(request: IncomingMessage, onward: ClientRequest, pace: Pace, came: () => void) {
    this.#request = request
    this.#onward = onward
    const go = () => {
      if (!this.#over) request.resume()
    }
    const pass = (piece: Buffer) => {
      came()
      if (this.#over) return
      const hasRoom = onward.write(piece)
      const pause = pace.after(piece.length)
      if (hasRoom && pause === null) return
      request.pause()
      if (pause === null) onward.once('drain', go)
      else pause.then(() => (onward.writableNeedDrain ? onward.once('drain', go) : go()))
    }
    const end = () => onward.end()
    request.on('data', pass).once('end', end)
    this.#deaf = () => request.off('data', pass).off('end', end)
  }

  /** True when control has answered a request that is still coming. */
  get isEarly(): boolean {
    return !this.#request.complete
  }

  /** Nothing more goes on to control. */
  stop(): void {
    this.#over = true
    this.#deaf()
    this.#request.resume()
  }

  /** Sends the answer while the client still sends, and ends the connection. */
  answer(answer: IncomingMessage, response: ServerResponse, headers: string[], deadlines: Deadlines): void {
    this.#over = true
    this.#deaf()
    const pieces: Buffer[] = []
    let length = 0
    answer.on('data', (piece: Buffer) => {
      length += piece.length
      if (length <= answerMaximumBytes) pieces.push(piece)
    })
    answer.once('close', () => {
      this.#onward.destroy()
      const body = Buffer.concat(pieces)
      // With its length, so that the client knows at once that it has all of it.
      const whole = withoutLength(headers).concat('content-length', String(body.length))
      const write = () => response.writeHead(answer.statusCode ?? 502, whole).write(body)
      answerEarly(this.#request, response, deadlines, write, uploadDiscardMaximumBytes)
      this.#request.resume()
    })
  }
}

function withoutLength(headers: readonly string[]): string[] {
  return headers.filter((_, at) => headers[at - (at % 2)] !== 'content-length')
}
