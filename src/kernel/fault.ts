import type { LedgerStatus } from './charge.ts'
import { type FaultCode, faultTable } from './fault-table.ts'

export interface FaultOptions {
  /** What the caller should do; default: the table's sentence for the code. */
  action?: string
  /** Machine-readable extra, shown to the caller. */
  detail?: unknown
  /** For the log only. */
  internal?: string
  cause?: unknown
  /** Seconds; becomes Retry-After. */
  retryAfterSeconds?: number
}

/** An expected failure with a meaning for the caller. Anything else that is thrown is a bug or broken I/O (500). */
export class Fault extends Error {
  readonly code: FaultCode
  readonly action: string
  readonly detail: unknown
  readonly internal: string | undefined
  readonly retryAfterSeconds: number | undefined

  /** `message` is public: it says what was wrong, without secrets and without other tenants' data. */
  constructor(code: FaultCode, message: string, options: FaultOptions = {}) {
    super(message, { cause: options.cause })
    this.name = 'Fault'
    this.code = code
    this.action = options.action ?? faultTable[code].action
    this.detail = options.detail
    this.internal = options.internal
    this.retryAfterSeconds = options.retryAfterSeconds
  }

  get status(): LedgerStatus {
    return faultTable[this.code].status
  }
}

/** Turns anything thrown into a Fault; what has no meaning becomes `internal` and keeps its cause for the log. */
export function toFault(thrown: unknown): Fault {
  if (thrown instanceof Fault) return thrown
  const text = thrown instanceof Error ? thrown.message : String(thrown)
  return new Fault('internal', 'Something went wrong on our side.', { internal: text, cause: thrown })
}
