/** What a command that talks to a server works with, and its failures in the words of the command line. */
import { type Clock, systemClock } from '../runtime/clock.ts'
import { environment } from '../runtime/environment.ts'
import { ApiError, NativeClient } from '../wire/native/client.ts'
import type { ListOf } from '../wire/native/fields.ts'
import { exitStatus, Failure } from './failure.ts'
import { type Interruption, onInterrupt } from './interrupt.ts'
import type { Screen } from './screen.ts'
import { apiKey, serverUrl, type TargetOptions } from './target.ts'

export interface Session {
  screen: Screen
  client: NativeClient
  url: string
  clock: Clock
  interruption: Interruption
}

/** Throws Failure when no key can be found; when the server does not run either, that is said instead. */
export async function openSession(screen: Screen, options: TargetOptions): Promise<Session> {
  const env = environment()
  const url = serverUrl(options, env)
  const org = options.org ?? (env.PADDOCK_ORG || undefined)
  const key = await keyOr(url, () => apiKey(options, env))
  const client = new NativeClient({ url, key, ...(org === undefined ? {} : { org }) })
  return { screen, client, url, clock: systemClock, interruption: onInterrupt() }
}

async function keyOr(url: string, find: () => string): Promise<string> {
  try {
    return find()
  } catch (missing) {
    if (!(missing instanceof Failure) || missing.code !== 'missing_key') throw missing
    await new NativeClient({ url }).health().catch((error) => {
      if (error instanceof ApiError && error.code === 'unreachable') throw fromApi(error)
    })
    throw missing
  }
}

/** An answer of the API that is an error, as the end of a command. */
export function fromApi(error: ApiError): Failure {
  const more = { detail: error.detail, requestId: error.requestId ?? undefined, cause: error }
  if (error.code === 'unreachable')
    return new Failure(
      exitStatus.unreachable,
      error.code,
      `${error.message.replace(/\.$/, '')}${whyUnreachable(error)}.`,
      'Start a server with "paddock serve", or name another one with --url or --port.',
      more,
    )
  return new Failure(statusOf(error), error.code, error.message, error.action, more)
}

function statusOf(error: ApiError): Failure['status'] {
  if (error.code === 'not_paddock') return exitStatus.unreachable
  if (error.status === 401 || error.status === 403) return exitStatus.noAccess
  if (error.status === 404) return exitStatus.notFound
  return exitStatus.failed
}

const systemWords: Record<string, string> = {
  ECONNREFUSED: 'connection refused',
  ENOTFOUND: 'the name is unknown',
  EAI_AGAIN: 'the name cannot be looked up',
  ECONNRESET: 'the connection was cut',
  UND_ERR_SOCKET: 'the connection was cut',
  ETIMEDOUT: 'no answer in time',
  EHOSTUNREACH: 'the host cannot be reached',
  ENETUNREACH: 'the network cannot be reached',
}

function whyUnreachable(error: ApiError): string {
  for (let cause: unknown = error.cause; cause instanceof Error; cause = cause.cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? ''
    if (code !== '') return ` (${systemWords[code] ?? code})`
  }
  return ''
}

/** `call`, with "there is no such deployment" said about the name that was typed. */
export async function aboutDeployment<T>(name: string, call: Promise<T>): Promise<T> {
  try {
    return await call
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 'not_found') throw error
    const message = `There is no deployment "${name}".`
    throw new Failure(exitStatus.notFound, 'not_found', message, 'List yours with "paddock ls".', { cause: error })
  }
}

const pageSize = 200
/** More than this is not for a table; the API has pages. */
export const itemsShownMaximum = 10_000

/** All pages of a list, at most `itemsShownMaximum` items. */
export async function allPages<T>(
  read: (page: { limit: number; cursor?: string }) => Promise<ListOf<T>>,
): Promise<ListOf<T>> {
  const data: T[] = []
  let cursor: string | undefined
  do {
    const page = await read({ limit: pageSize, ...(cursor === undefined ? {} : { cursor }) })
    data.push(...page.data)
    cursor = page.next_cursor ?? undefined
  } while (cursor !== undefined && data.length < itemsShownMaximum)
  return { data, next_cursor: cursor ?? null }
}
