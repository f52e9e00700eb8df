/** An engine's event stream on its way to the client, whichever words the route speaks. */
export interface AnswerStream {
  /** What goes to the client for this chunk; '' while nothing is whole. Texts are latin1: one character per byte. */
  push(chunk: string): string
  /** What is left at the end; sent after the request is settled. */
  end(): string
  /** The engine said its last word: nothing that follows is read. */
  readonly done: boolean
  /** The engine said that the answer is complete. */
  readonly complete: boolean
  /** The engine ended it in the middle, see given-up.ts. Known at the end. */
  readonly givenUp: boolean
  /** An event with text, reasoning or a tool call has passed. */
  readonly contentSeen: boolean
  /** Text of the engine's own error event; the stream failed, whatever its status was. */
  readonly errorText: string | null
  /** Events with data so far. */
  readonly events: number
  /** Text of the last `usage` object; null = none yet. */
  readonly usageText: string | null
  /** Pieces of the answer that `usageText` does not count; absent = it counts all. */
  readonly uncounted?: number
}
