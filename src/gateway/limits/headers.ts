/** `x-ratelimit-*` as OpenAI's clients know them. Pure. */
import type { Subject } from './subject.ts'

/**
 * Of requests and of tokens, each of whichever of the two has least left; null = neither counts. `reset` is the time
 * until some of what counts now has passed.
 */
export function rateHeaders(a: Subject | null, b: Subject | null, now: number): string[] | null {
  const requests = tightest(a, b, 'rpm')
  const tokens = tightest(a, b, 'tpm')
  if (requests === null && tokens === null) return null
  const headers: string[] = []
  if (requests !== null) add(headers, 'requests', requests, now)
  if (tokens !== null) add(headers, 'tokens', tokens, now)
  return headers
}

function tightest(a: Subject | null, b: Subject | null, name: 'rpm' | 'tpm'): Subject | null {
  if (a === null || a.limits[name] === null) return b === null || b.limits[name] === null ? null : b
  if (b === null || b.limits[name] === null) return a
  return left(a, name) <= left(b, name) ? a : b
}

/** As this gateway has counted; others may have let in more. */
function left({ limits, window }: Subject, name: 'rpm' | 'tpm'): number {
  return Math.max(0, name === 'rpm' ? limits.rpm! - window.requests : limits.tpm! - window.tokens)
}

function add(headers: string[], what: 'requests' | 'tokens', subject: Subject, now: number): void {
  const { limits, window } = subject
  const name = what === 'requests' ? 'rpm' : 'tpm'
  const counted = what === 'requests' ? window.requests : window.tokens
  const ms =
    what === 'requests'
      ? window.msUntil(now, counted - 1, Number.POSITIVE_INFINITY)
      : window.msUntil(now, Number.POSITIVE_INFINITY, counted - 1)
  headers.push(
    `x-ratelimit-limit-${what}`,
    String(limits[name]),
    `x-ratelimit-remaining-${what}`,
    String(left(subject, name)),
    `x-ratelimit-reset-${what}`,
    duration(ms),
  )
}

/** As OpenAI writes it: 850ms, 12.5s, 1m0s. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms) || ms <= 0) return '0s'
  if (ms < 1_000) return `${Math.ceil(ms)}ms`
  if (ms < 60_000) return `${Math.ceil(ms / 10) / 100}s`
  const seconds = Math.ceil(ms / 1_000)
  return `${Math.floor(seconds / 60)}m${seconds % 60}s`
}
