/** `x-ratelimit-*` as OpenAI's clients know them. Pure. */
import type { Subject } from './subject.ts'

/**
 * Of requests and of tokens, each of whoever has least left; null = nobody counts them. `reset` is the time until some
 * of what counts now has passed. `noneLeft`: the request was refused for being one too many, here or at the other
 * gateways.
 */
export function rateHeaders(subjects: readonly Subject[], now: number, noneLeft = false): string[] | null {
  const requests = tightest(subjects, 'rpm')
  const tokens = tightest(subjects, 'tpm')
  if (requests === null && tokens === null) return null
  const headers: string[] = []
  if (requests !== null) add(headers, 'requests', requests, noneLeft ? 0 : left(requests, 'rpm'), now)
  if (tokens !== null) add(headers, 'tokens', tokens, left(tokens, 'tpm'), now)
  return headers
}

function tightest(subjects: readonly Subject[], name: 'rpm' | 'tpm'): Subject | null {
  let tight: Subject | null = null
  for (const subject of subjects)
    if (subject.limits[name] !== null && (tight === null || left(subject, name) < left(tight, name))) tight = subject
  return tight
}

/** As this gateway has counted; others may have let in more. */
function left({ limits, window }: Subject, name: 'rpm' | 'tpm'): number {
  return Math.max(0, name === 'rpm' ? limits.rpm! - window.requests : limits.tpm! - window.tokens)
}

const names = {
  requests: ['x-ratelimit-limit-requests', 'x-ratelimit-remaining-requests', 'x-ratelimit-reset-requests'],
  tokens: ['x-ratelimit-limit-tokens', 'x-ratelimit-remaining-tokens', 'x-ratelimit-reset-tokens'],
} as const

function add(headers: string[], what: 'requests' | 'tokens', subject: Subject, rest: number, now: number): void {
  const [limit, remaining, reset] = names[what]
  const name = what === 'requests' ? 'rpm' : 'tpm'
  const { limits, window } = subject
  headers.push(limit, `${limits[name]}`, remaining, `${rest}`, reset, duration(window.msToNext(now)))
}

/** As OpenAI writes it: 850ms, 12.5s, 1m0s. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms) || ms <= 0) return '0s'
  if (ms < 1_000) return `${Math.ceil(ms)}ms`
  if (ms < 60_000) return `${Math.ceil(ms / 10) / 100}s`
  const seconds = Math.ceil(ms / 1_000)
  return `${Math.floor(seconds / 60)}m${seconds % 60}s`
}
