/**
 * A request as one line of the journal: a JSON array in the order of `columns`, which are the ledger's. The opening of
 * a request is written in the same form, as what it settles as when its gateway dies: 500, not charged, tokens guessed.
 * So a replay needs no knowledge of its own, and a batch goes to the database as it stands in the file. Pure.
 */
import { isCharged } from '../../kernel/charge.ts'
import type { SettledRequest } from '../request.ts'

/**
 * In the file, and in the ledger with its type there: first what is known when a request begins, then how it ended. New
 * ones go to the end; else `journalHead` changes.
 */
export const columns = [
  ['request_id', 'text'],
  ['received_at', 'ms'],
  ['org_id', 'text'],
  ['key_id', 'text'],
  ['deployment_id', 'text'],
  ['model', 'text'],
  ['adapter', 'text'],
  ['asked_model', 'text'],
  ['route', 'text'],
  ['stream', 'boolean'],
  ['bytes_in', 'bigint'],
  ['client_request_id', 'text'],
  ['settled_at', 'ms'],
  ['replica_id', 'text'],
  ['status', 'integer'],
  ['code', 'text'],
  ['charged', 'boolean'],
  ['prompt_tokens', 'integer'],
  ['cached_tokens', 'integer'],
  ['completion_tokens', 'integer'],
  ['reasoning_tokens', 'integer'],
  ['estimated', 'boolean'],
  ['queue_ms', 'integer'],
  ['ttft_ms', 'integer'],
  ['total_ms', 'integer'],
  ['bytes_out', 'bigint'],
] as const satisfies [string, 'text' | 'ms' | 'boolean' | 'integer' | 'bigint'][]

/** First line of a segment: what is in it is in this form. */
export const journalHead = JSON.stringify({ journal: 2 })
/** Those that can be read: until 2 every line had a frame of its own. */
export const knownHeads: ReadonlySet<string> = new Set([JSON.stringify({ journal: 1 }), journalHead])

/** Of the model's name as the client wrote it. */
const askedModelMaximumChars = 200

/** The line, never with a character that Postgres cannot store. */
export function encodeRequest(request: SettledRequest): string {
  return encodeBeginning(request) + encodeEnd(request)
}

/** The part of the line that does not change between the beginning of a request and its end. */
export function encodeBeginning(request: SettledRequest): string {
  return (
    `[${text(request.requestId)},${whole(request.receivedAt)},${text(request.orgId)},${text(request.keyId)},` +
    `${text(request.deploymentId)},${text(request.modelId)},${text(request.adapter)},${text(request.model)},` +
    `"${request.route}",${request.stream},${request.bytes.in},${text(request.clientRequestId)},`
  )
}

/** The rest of the line. */
export function encodeEnd({ receivedAt, replicaId, status, code, usage, timings, bytes }: SettledRequest): string {
  const { queue, ttft, total } = timings
  const tokens =
    usage === null
      ? '0,0,0,0,false'
      : `${usage.promptTokens},${usage.cachedTokens ?? 0},${usage.completionTokens},${usage.reasoningTokens ?? 0},${usage.estimated === true}`
  return (
    `${whole(receivedAt + Math.max(0, total))},${text(replicaId)},${status},${code === null ? 'null' : `"${code}"`},` +
    `${isCharged(status)},${tokens},${whole(queue)},${ttft === null ? 'null' : whole(ttft)},${whole(total)},${bytes.out}]`
  )
}

/** The request's id, out of its line. */
export function requestIdOf(line: string): string {
  return line.slice(2, line.indexOf('"', 2))
}

/** ms since epoch, out of its line. */
export function receivedAtOf(line: string): number {
  const from = line.indexOf(',') + 1
  return Number(line.slice(from, line.indexOf(',', from)))
}

const plain = /^[\w.:/@+-]*$/

function text(value: string | null): string {
  if (value === null) return 'null'
  return value.length <= askedModelMaximumChars && plain.test(value) ? `"${value}"` : JSON.stringify(storable(value))
}

/** Postgres stores neither NUL nor half a character. */
function storable(value: string): string {
  return [...value.toWellFormed()]
    .filter((char) => char >= ' ')
    .slice(0, askedModelMaximumChars)
    .join('')
}

/** Postgres' integer; a clock that jumps must not spoil a line. */
function whole(value: number): number {
  return Number.isFinite(value) ? Math.round(value) : 0
}
