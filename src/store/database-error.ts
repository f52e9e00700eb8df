import { Fault } from '../kernel/fault.ts'

/** The server's five-character code of an error (SQLSTATE), or the system's; undefined for anything else. */
export function errorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : undefined
}

/** True when the named unique or check constraint (or unique index) refused the change. */
export function violates(error: unknown, constraint: string): boolean {
  return /^23/.test(errorCode(error) ?? '') && (error as { constraint?: string }).constraint === constraint
}

/** Another transaction was in the way; the same transaction may succeed when run again. */
export function isConflict(error: unknown): boolean {
  const code = errorCode(error)
  return code === '40001' || code === '40P01'
}

const lostCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOENT',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EAI_AGAIN',
  'ENOTFOUND',
])
/** Words of the driver, which has no codes for these. */
const lostWords =
  /connection terminated|timeout exceeded when trying to connect|not queryable|connection error|closed the connection/i

/** The server is away, or the connection to it broke: nothing about the statement itself was wrong. */
export function isConnectionLoss(error: unknown): boolean {
  const code = errorCode(error)
  // 08: connection; 57P0x: shutting down, crashed, starting up; 53300: no connection free.
  if (code !== undefined) return lostCodes.has(code) || /^(08...|57P0[1-3]|53300)$/.test(code)
  return error instanceof Error && lostWords.test(error.message)
}

/** The connection cannot be used any more, or nobody knows in what state it is. */
export function breaksConnection(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return isConnectionLoss(error) || isNoAnswer(error) || (error.cause !== undefined && breaksConnection(error.cause))
}

function isNoAnswer(error: unknown): boolean {
  return error instanceof Error && error.message === 'Query read timeout'
}

/** What a caller outside sees of an error; what is the statement's own fault stays as it is. */
export function translated(error: unknown): unknown {
  if (isConnectionLoss(error)) return unavailable('The database cannot be reached right now.', error)
  if (errorCode(error) === '57014' || isNoAnswer(error))
    return unavailable('The database took too long to answer.', error)
  if (isConflict(error)) return unavailable('Too many changes at once; the database gave way to others.', error)
  return error
}

export function unavailable(message: string, cause?: unknown): Fault {
  return new Fault('unavailable', message, {
    cause,
    internal: cause instanceof Error ? cause.message : undefined,
    retryAfterSeconds: 1,
  })
}
