/** What a client is told whom a limit keeps out. Pure. */
import { Fault } from '../../kernel/fault.ts'
import { never } from '../../kernel/never.ts'
import type { Estimate } from './estimate.ts'
import { ownerOf } from './owner.ts'
import type { Subject, Verdict } from './subject.ts'

/** Until somebody leaves: nobody knows, but soon. */
const soonSeconds = 1
/** Until others of the gateways can give a share back, when all of it is theirs. */
const othersSeconds = 5

export function refusal(verdict: Verdict, subject: Subject, now: number, size: Estimate): Fault {
  const { rpm, tpm, concurrency } = subject.limits
  const of = begin(subject)
  switch (verdict) {
    case 'at_once':
      return new Fault('concurrency_limited', `${of} ${concurrency} requests at once.`, {
        retryAfterSeconds: soonSeconds,
      })
    case 'requests':
      return new Fault('rate_limited', `${of} ${rpm} requests in 60 seconds.`, wait(subject, now, size))
    case 'tokens': {
      const asks = `this request may take ${size.most}`
      return new Fault('rate_limited', `${of} ${tpm} tokens in 60 seconds; ${asks}.`, {
        ...wait(subject, now, size),
        action: 'Wait for Retry-After seconds, or lower max_tokens, which bounds what a request counts.',
      })
    }
    case 'too_large':
      return new Fault(
        'rate_limited',
        `${of} ${tpm} tokens in 60 seconds; this prompt alone has about ${size.prompt}.`,
        {
          action: 'Shorten the prompt, or have the limit raised: waiting does not help.',
          retryAfterSeconds: 60,
        },
      )
    case 'lease':
    case 'yes':
      return new Fault('rate_limited', 'Too many requests in 60 seconds.', { retryAfterSeconds: soonSeconds })
    default:
      return never(verdict, 'verdict of a limit')
  }
}

function begin({ name }: Subject): string {
  const owner = ownerOf(name)
  switch (owner.kind) {
    case 'deployment':
      return 'This deployment takes'
    case 'adapter':
      return `The adapter ${owner.name} of this deployment takes`
    case 'key':
      return 'This API key may send'
    default:
      return never(owner, 'owner of a limit')
  }
}

function wait(subject: Subject, now: number, size: Estimate): { retryAfterSeconds: number } {
  const ms = subject.msUntil(now, size)
  return { retryAfterSeconds: Number.isFinite(ms) ? Math.max(1, Math.ceil(ms / 1000)) : othersSeconds }
}
