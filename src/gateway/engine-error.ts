/** An engine's refusal in our own words: codes that clients know, the engine's sentence, never its idea of who they are. */
import { Fault } from '../kernel/fault.ts'

const messageMaximumCharacters = 2_000
const busyRetryAfterSeconds = 2

/** The Fault for an answer that is not 200. `text` is the body; `asked` what was asked of whom. */
export function engineFault(status: number, text: string, asked: { engine: string; route: string }): Fault {
  const error = errorObject(text)
  const message = typeof error.message === 'string' ? error.message.slice(0, messageMaximumCharacters) : ''
  const internal = `status ${status}: ${message.slice(0, 200)}`
  if (lacksRoute(status, error)) {
    const why = message === '' ? '.' : `: ${message}`
    return new Fault('engine_unsupported', `The engine ${asked.engine} does not serve ${asked.route} here${why}`, {
      internal,
    })
  }
  // 401, 403 and 404 are about the key and the name that we sent, not about the client's.
  const ours = status < 400 || status >= 500 || status === 401 || status === 403 || status === 404
  if (ours) return new Fault('engine_failed', 'The engine failed to answer.', { internal })
  if (status === 429)
    return new Fault('rate_limited', message || 'The engine is busy.', { retryAfterSeconds: busyRetryAfterSeconds })
  const param = typeof error.param === 'string' ? error.param : undefined
  return new Fault(isContextFault(error, message) ? 'context_length_exceeded' : 'invalid_request', message || unnamed, {
    detail: param === undefined ? undefined : { param },
    internal,
  })
}

/** Engines have some routes in some versions and for some models only. What is not there is not about the model's name. */
function lacksRoute(status: number, error: Record<string, unknown>): boolean {
  if (status === 405 || status === 501) return true
  return status === 404 && error.param !== 'model' && error.type !== 'NotFoundError'
}

const unnamed = 'The engine refused the request.'

function isContextFault(error: Record<string, unknown>, message: string): boolean {
  if (error.code === 'context_length_exceeded' || error.type === 'exceed_context_size_error') return true
  return /maximum context length|longer than the model's context length|exceeds? the (available )?context/i.test(
    message,
  )
}

/** `{error: {…}}` as OpenAI writes it, the bare object of older engines, or `{error: "…"}`. */
function errorObject(text: string): Record<string, unknown> {
  try {
    const parsed = JSON.parse(text) as Record<string, unknown> | null
    const inner = parsed?.error ?? parsed
    if (typeof inner === 'string') return { message: inner }
    return inner !== null && typeof inner === 'object' ? (inner as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
