/**
 * Waits until a deployment answers, fails, or is gone, showing what it does meanwhile. Loops; gives up at the deadline.
 * A server that does not answer for a moment (it restarts) is waited for as well.
 */
import { never } from '../kernel/never.ts'
import { answering } from '../kernel/phase.ts'
import { ApiError } from '../wire/native/client.ts'
import type { Deployment } from '../wire/native/deployment.ts'
import type { Replica } from '../wire/native/explanation.ts'
import { exitStatus, Failure } from './failure.ts'
import { type LiveLine, liveLine, silentLine } from './live-line.ts'
import type { Session } from './session.ts'
import { startParts } from './start-parts.ts'
import { elapsedText } from './words.ts'

const everyMs = 200
/** How long a server may be away during a wait. */
const awayMaximumMs = 15_000

interface Wait {
  session: Session
  /** Asked for by id: a name may pass to another deployment meanwhile. */
  deployment: { id: string; name: string }
  timeoutMs: number
}

/** The deployment as it answers. Throws Failure: failed (with its reason), gone, or timeout. */
export async function untilAnswers(wait: Wait): Promise<Deployment> {
  return poll<Deployment>(wait, 'answer', async () => {
    const { deployment, replicas } = await wait.session.client.explainDeployment(wait.deployment.id)
    return verdict(deployment) === 'answers'
      ? { doing: null, done: deployment }
      : { doing: [deployment.phase, startPart(replicas)].filter(Boolean).join(' · ') }
  })
}

/** Returns when the deployment is gone: the last that was seen of it, null when it was gone at once. */
export async function untilGone(wait: Wait): Promise<Deployment | null> {
  let last: Deployment | null = null
  return poll<Deployment | null>(wait, 'go', async () => {
    const seen = await wait.session.client.getDeployment(wait.deployment.id).catch(nullWhenNotFound)
    if (seen === null) return { doing: null, done: last }
    last = seen
    return seen.phase === 'deleted' ? { doing: null, done: seen } : { doing: seen.phase }
  })
}

/** Returns when `settled` holds. Throws Failure when the deployment fails or is deleted meanwhile, or at the deadline. */
export async function untilSettled(
  wait: Wait,
  what: string,
  settled: (deployment: Deployment, replicas: readonly Replica[]) => boolean,
): Promise<Deployment> {
  return poll<Deployment>(wait, what, async () => {
    const { deployment, replicas } = await wait.session.client.explainDeployment(wait.deployment.id)
    if (settled(deployment, replicas)) return { doing: null, done: deployment }
    if (deployment.phase === 'failed' || deployment.phase === 'deleted') throw ended(deployment)
    return { doing: [deployment.phase, startPart(replicas)].filter(Boolean).join(' · ') }
  })
}

/** What one look saw: the end, or what goes on. */
type Look<T> = { doing: null; done: T } | { doing: string }

async function poll<T>(wait: Wait, what: string, look: () => Promise<Look<T>>): Promise<T> {
  const { clock, interruption, screen } = wait.session
  const line: LiveLine = screen.json ? silentLine : liveLine(process.stderr, clock.monotonicMs)
  const began = clock.monotonicMs()
  let heard = began
  try {
    for (;;) {
      if (interruption.signal.aborted) throw leave(wait, line)
      const seen = await look().catch((error) => away(error, clock.monotonicMs() - heard))
      if (seen !== null) heard = clock.monotonicMs()
      if (seen !== null && seen.doing === null) return seen.done
      const elapsed = clock.monotonicMs() - began
      line.show(`${wait.deployment.name}  ${seen?.doing ?? 'the server does not answer'}`, elapsedText(elapsed))
      if (elapsed >= wait.timeoutMs) throw timedOut(wait, what)
      await clock.sleep(Math.min(everyMs, wait.timeoutMs - elapsed), interruption.signal)
    }
  } finally {
    line.clear()
  }
}

function leave(wait: Wait, line: LiveLine): unknown {
  line.clear()
  wait.session.screen.note(`${wait.deployment.name} goes on without this command.`)
  return wait.session.interruption.signal.reason
}

/** null while the server may be on its way back; throws everything else. */
function away(error: unknown, silentMs: number): null {
  const passing = error instanceof ApiError && (error.status === 0 || error.status === 502 || error.status === 503)
  if (passing && silentMs < awayMaximumMs) return null
  throw error
}

export function nullWhenNotFound(error: unknown): null {
  if (error instanceof ApiError && error.code === 'not_found') return null
  throw error
}

function verdict(deployment: Deployment): 'answers' | 'not yet' {
  const meaning = answering[deployment.phase]
  switch (meaning) {
    case 'yes':
      return 'answers'
    case 'hold':
      // Asleep is a way of being ready: the first request wakes it.
      return deployment.phase === 'asleep' ? 'answers' : 'not yet'
    case 'stopping':
    case 'stopped':
    case 'failed':
    case 'gone':
      throw ended(deployment)
    default:
      return never(meaning, 'answering')
  }
}

function ended(deployment: Deployment): Failure {
  return new Failure(
    exitStatus.failed,
    deployment.reason?.code ?? deployment.phase,
    `Deployment "${deployment.name}" is ${deployment.phase}${deployment.reason ? `: ${deployment.reason.message}` : '.'}`,
    `See "paddock explain ${deployment.name}" and "paddock logs ${deployment.name}".`,
    { detail: deployment },
  )
}

/** Which part of its start the youngest starting replica is in. */
function startPart(replicas: readonly Replica[]): string {
  const starting = replicas.filter((replica) => replica.phase === 'starting').at(-1)
  return starting === undefined ? '' : (startParts(starting).at(-1)?.name ?? '')
}

function timedOut(wait: Wait, what: string): Failure {
  const { name } = wait.deployment
  return new Failure(
    exitStatus.timeout,
    'timeout',
    `Deployment "${name}" did not ${what} within ${elapsedText(wait.timeoutMs)}; it goes on without this command.`,
    `See "paddock explain ${name}".`,
  )
}
