/**
 * What an answer of the Hub means that is not the one hoped for: by its `X-Error-Code`, then its message, then its status,
 * as the Hub's own clients read them. Each meaning has a code of ours and the sentence that helps. Pure.
 */
import { Fault } from '../../kernel/fault.ts'
import type { FaultCode } from '../../kernel/fault-table.ts'

export interface HubAnswerHead {
  status: number
  headers: Readonly<Record<string, string | string[] | undefined>>
}

/** What was asked of the Hub, and how. */
export interface HubAsk {
  repo: string
  revision: string
  /** The file that was asked for; null = none. */
  path: string | null
  hasToken: boolean
  /** Address of the Hub. */
  endpoint: string
}

/** These pass by themselves; anything else stays wrong however often it is asked. */
const passing: ReadonlySet<FaultCode> = new Set(['hub_unreachable', 'hub_rate_limited'])
const saidCharsMaximum = 200
const retryAfterSecondsDefault = 30
const retryAfterSecondsMaximum = 3600

export function passesByItself(fault: Fault): boolean {
  return passing.has(fault.code)
}

export function header({ headers }: Pick<HubAnswerHead, 'headers'>, name: string): string | null {
  const value = headers[name]
  return (Array.isArray(value) ? value[0] : value) ?? null
}

export function faultOf(answer: HubAnswerHead, ask: HubAsk): Fault {
  const code = header(answer, 'x-error-code')
  const said = header(answer, 'x-error-message') ?? ''
  const { status } = answer
  if (status === 429) return rateLimited(answer, ask)
  if (/invalid credentials in authorization header/i.test(said)) return tokenRefused(ask)
  if (/access to this resource is disabled/i.test(said)) return disabled(ask)
  if (code === 'GatedRepo') return ask.hasToken ? notGranted(ask) : tokenMissing(ask)
  if (code === 'RevisionNotFound') return noRevision(ask)
  if (code === 'EntryNotFound') return noFile(ask)
  // Of what is private the Hub says the same as of what is not there.
  if (code === 'RepoNotFound' || status === 401 || (status === 404 && code === null)) return noRepo(ask)
  if (status === 403) return notGranted(ask)
  return unreachable(`the Hub answered ${status}${plain(said) === '' ? '' : `: ${plain(said)}`}`, ask.endpoint)
}

function tokenMissing({ repo }: HubAsk): Fault {
  return new Fault('hub_token_missing', `${repo} is gated, and this organisation has no Hub token.`)
}

function tokenRefused({ endpoint }: HubAsk): Fault {
  return new Fault('hub_token_refused', `${hostOf(endpoint)} does not accept this organisation’s Hub token.`)
}

function notGranted({ repo, endpoint }: HubAsk): Fault {
  const message = `${repo} is not open to everybody, and the account of this organisation’s Hub token has no access to it.`
  const action = `Ask for access on ${endpoint}/${repo} with that account; a fine-grained token must allow reading it. Then deploy again.`
  return new Fault('hub_access_not_granted', message, { action })
}

function noRepo({ repo, hasToken, endpoint }: HubAsk): Fault {
  const who = hasToken ? 'that this organisation’s Hub token may see' : 'that can be seen without a token'
  return new Fault('hub_repo_not_found', `There is no repository ${repo} on ${hostOf(endpoint)} ${who}.`, {
    action: hasToken
      ? 'Check the name, and that the account of the token may see it if it is private.'
      : 'Check the name. If it is private, store a token with PUT /orgs/{id}/hf-token.',
  })
}

function noRevision({ repo, revision }: HubAsk): Fault {
  return new Fault('hub_revision_not_found', `${repo} has no revision ${JSON.stringify(revision)}.`)
}

function noFile({ repo, revision, path }: HubAsk): Fault {
  return new Fault('hub_file_not_found', `${repo} has no file ${path ?? 'of that name'} at ${revision}.`)
}

function disabled({ repo }: HubAsk): Fault {
  return new Fault('hub_repo_disabled', `The Hub has disabled ${repo}.`)
}

function rateLimited(answer: HubAnswerHead, { endpoint, hasToken }: HubAsk): Fault {
  const retryAfterSeconds = waitSeconds(answer)
  const message = `${hostOf(endpoint)} answers no more requests for ${retryAfterSeconds} s.`
  const action = hasToken ? undefined : 'Try again after Retry-After seconds; with a token the Hub allows more.'
  return new Fault('hub_rate_limited', message, { retryAfterSeconds, ...(action === undefined ? {} : { action }) })
}

/** `Retry-After`, or the `t` of `RateLimit: "api";r=0;t=55`. */
function waitSeconds(answer: HubAnswerHead): number {
  const told = header(answer, 'retry-after') ?? /(?:^|;)\s*t=(\d+)/.exec(header(answer, 'ratelimit') ?? '')?.[1]
  const seconds = Number(told)
  if (told === undefined || !Number.isFinite(seconds) || seconds < 0) return retryAfterSecondsDefault
  return Math.min(Math.max(1, Math.ceil(seconds)), retryAfterSecondsMaximum)
}

/** `why`: half a sentence. */
export function unreachable(why: string, endpoint: string, cause?: unknown): Fault {
  return new Fault('hub_unreachable', `The Hub at ${hostOf(endpoint)} cannot be used now: ${why}.`, {
    retryAfterSeconds: retryAfterSecondsDefault,
    cause,
  })
}

function hostOf(endpoint: string): string {
  return new URL(endpoint).host
}

/** Foreign text in a sentence of ours. */
function plain(said: string): string {
  return said
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, saidCharsMaximum)
}
