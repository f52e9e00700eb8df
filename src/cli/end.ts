/** How a command ends that did not succeed: the sentence for the person, and the exit status. */
import { Failure, Interrupted, toFailure } from './failure.ts'
import type { Screen } from './screen.ts'

export async function endWithFailure(thrown: unknown, screen: Screen): Promise<number> {
  if (thrown instanceof Interrupted) return thrown.status
  const failure = await inOurWords(thrown)
  screen.fail(failure)
  return failure.status
}

async function inOurWords(thrown: unknown): Promise<Failure> {
  if (thrown instanceof Failure) return thrown
  // Read late: a mistake in the options needs no client.
  const { ApiError } = await import('../wire/native/client.ts')
  if (!(thrown instanceof ApiError)) return toFailure(thrown)
  return (await import('./session.ts')).fromApi(thrown)
}
