/** What can go wrong for a command: an exit status, and one or two sentences that say what and what to do. */
import { oneLine } from './width.ts'

export const exitStatus = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  timeout: 4,
  noAccess: 5,
  unreachable: 6,
  interrupted: 130,
  terminated: 143,
} as const
export type ExitStatus = (typeof exitStatus)[keyof typeof exitStatus]

const choicesShown = 20

/** Shown in the help of every command. */
export const exitStatusHelp = `Exit status:
  0 done   1 failed   2 wrong usage   3 not found   4 timed out   5 no access (key missing, refused or without the right)
  6 server unreachable   130 interrupted`

/** An expected end of a command. `message` says what, `action` what to do; both without a line break. */
export class Failure extends Error {
  readonly status: ExitStatus
  readonly code: string
  readonly action: string
  readonly detail: unknown
  readonly requestId: string | undefined

  constructor(
    status: ExitStatus,
    code: string,
    message: string,
    action = '',
    more: { detail?: unknown; requestId?: string; cause?: unknown } = {},
  ) {
    super(message, { cause: more.cause })
    this.name = 'Failure'
    this.status = status
    this.code = code
    this.action = action
    this.detail = more.detail
    this.requestId = more.requestId
  }
}

export function usageFailure(message: string, action = ''): Failure {
  return new Failure(exitStatus.usage, 'usage', message, action)
}

/** Ended by a person or a supervisor; said nothing about, the status tells. */
export class Interrupted extends Error {
  readonly status: ExitStatus
  constructor(signal: NodeJS.Signals) {
    super(signal)
    this.name = 'Interrupted'
    this.status = signal === 'SIGTERM' ? exitStatus.terminated : exitStatus.interrupted
  }
}

/** Anything thrown, as a Failure. What is no Failure is our bug or broken I/O, and says so. */
export function toFailure(thrown: unknown): Failure {
  if (thrown instanceof Failure) return thrown
  const text = thrown instanceof Error ? thrown.message : String(thrown)
  return new Failure(exitStatus.failed, 'internal', `Something went wrong in this command: ${text}`, '', {
    cause: thrown,
  })
}

/** For people: `Error: <message> <action>`, and the request id where there is one. */
export function failureText(failure: Failure): string {
  const { message, detail, action } = failure
  const reason = reasonIn(detail, message)
  const sentences = [reason === '' ? message : `${message}: ${reason}`, action, listed(detail)]
    .filter((text) => text !== '')
    .map(oneLine)
  const id = failure.code === 'internal' && failure.requestId ? ` (request ${failure.requestId})` : ''
  return `Error: ${sentences.join(' ')}${id}`
}

/** Why, where the message alone does not say it: some messages are the same to the letter whatever the reason is. */
export function reasonIn(detail: unknown, message: string): string {
  const { reason } = (typeof detail === 'object' && detail !== null ? detail : {}) as { reason?: unknown }
  return typeof reason === 'string' && !message.includes(reason) ? reason : ''
}

/** The choices that an error names in its detail: "(supported: a, b)". What its sentences say already is no choice. */
function listed(detail: unknown): string {
  if (typeof detail !== 'object' || detail === null) return ''
  const lists = Object.entries(detail).filter(([name, value]) => name !== 'problems' && isListOfWords(value))
  return lists
    .map(([name, values]) => {
      const shown = (values as unknown[]).slice(0, choicesShown).join(', ')
      const more = (values as unknown[]).length - choicesShown
      return `(${name.replaceAll('_', ' ')}: ${shown}${more > 0 ? ` and ${more} more` : ''})`
    })
    .join(' ')
}

function isListOfWords(value: unknown): boolean {
  const isWord = (item: unknown) => typeof item === 'string' || typeof item === 'number'
  return Array.isArray(value) && value.length > 0 && value.every(isWord)
}

/** For programs: the same document that the API answers with. */
export function failureDocument(failure: Failure): unknown {
  const { code, message, action, detail, requestId } = failure
  return {
    error: {
      code,
      message,
      action,
      ...(detail === undefined ? {} : { detail }),
      ...(requestId === undefined ? {} : { request_id: requestId }),
    },
  }
}
