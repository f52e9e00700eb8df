/** `paddock stop`, `start`, `restart`, `wake`, `sleep`, `rollback`: asks for it, and on request waits until it is so. */
import { answering } from '../kernel/phase.ts'
import type { Deployment, Starting } from '../wire/native/deployment.ts'
import type { Replica } from '../wire/native/explanation.ts'
import { durationOption, wholeOption } from './deploy.ts'
import { aboutDeployment, type Session } from './session.ts'
import { untilSettled } from './wait.ts'
import { elapsedText } from './words.ts'

export type LifecycleVerb = 'stop' | 'start' | 'restart' | 'wake' | 'sleep'

interface WaitOptions {
  wait?: boolean
  timeout: string
}

/** start, wake: refused rather than queued. */
export interface VerbOptions extends WaitOptions {
  failFast?: boolean
  /** restart, rollback: nobody may answer meanwhile. */
  allowDowntime?: boolean
}

interface Meaning {
  ask(session: Session, name: string, options: VerbOptions): Promise<Deployment>
  /** After the name, at once and at the end of the wait. */
  asked(deployment: Deployment): string
  done: string
  settled(deployment: Deployment, replicas: readonly Replica[]): boolean
}

const meanings: Record<LifecycleVerb, Meaning> = {
  stop: {
    ask: ({ client }, name) => client.stopDeployment(name),
    asked: (d) => (d.phase === 'stopped' ? 'is stopped' : 'is being stopped'),
    done: 'is stopped',
    settled: (d) => d.phase === 'stopped',
  },
  start: {
    ask: ({ client }, name, options) => client.startDeployment(name, startBody(options)),
    asked: (d) => `is ${d.phase}`,
    done: 'answers',
    settled: answers,
  },
  restart: {
    ask: ({ client }, name, options) => client.restartDeployment(name, rollBody(options)),
    asked: (d) => `is ${d.phase}: revision ${d.revision} takes over`,
    done: 'runs on new replicas',
    settled: tookOver,
  },
  wake: {
    ask: ({ client }, name, options) => client.wakeDeployment(name, startBody(options)),
    asked: (d) => `is ${d.phase}`,
    done: 'answers',
    settled: answers,
  },
  sleep: {
    ask: ({ client }, name) => client.sleepDeployment(name),
    asked: () => 'goes to sleep; the next request wakes it',
    done: 'is asleep',
    settled: (d, replicas) => d.phase === 'asleep' && replicas.every((one) => one.ended_at !== null),
  },
}

function rollBody({ allowDowntime }: VerbOptions): { allow_downtime?: boolean } {
  return allowDowntime ? { allow_downtime: true } : {}
}

function startBody({ failFast }: VerbOptions): Starting {
  return failFast ? { fail_fast: true } : {}
}

export async function runVerb(
  session: Session,
  verb: LifecycleVerb,
  name: string,
  options: VerbOptions,
): Promise<void> {
  await carryOut(session, name, options, { ...meanings[verb], what: verb })
}

export async function rollback(session: Session, name: string, options: VerbOptions & { to?: string }): Promise<void> {
  const revision = wholeOption('--to', options.to)
  await carryOut(session, name, options, {
    what: 'roll back',
    ask: ({ client }) =>
      client.rollbackDeployment(name, { ...rollBody(options), ...(revision === undefined ? {} : { revision }) }),
    asked: (d) => `is ${d.phase}: revision ${d.revision} takes over`,
    done: 'runs on the earlier settings',
    settled: tookOver,
  })
}

async function carryOut(
  session: Session,
  name: string,
  options: VerbOptions,
  meaning: Meaning & { what: string },
): Promise<void> {
  const timeoutMs = durationOption('--timeout', options.timeout)
  const { screen, clock } = session
  const began = clock.monotonicMs()
  const asked = await aboutDeployment(name, meaning.ask(session, name, options))
  const said = `${asked.name} ${meaning.asked(asked)}.`
  if (!options.wait) return screen.answer(asked, () => said)
  screen.note(said)
  const settled = await untilSettled({ session, deployment: asked, timeoutMs }, meaning.what, meaning.settled)
  screen.answer(settled, () => `${settled.name} ${meaning.done} after ${elapsedText(clock.monotonicMs() - began)}.`)
}

function answers(deployment: Deployment): boolean {
  return answering[deployment.phase] === 'yes' && deployment.ready_replicas > 0
}

/** Nothing else than the current revision serves. */
function tookOver(deployment: Deployment, replicas: readonly Replica[]): boolean {
  const ready = replicas.filter((one) => one.phase === 'ready')
  const all = ready.every((one) => one.revision === deployment.revision)
  return answers(deployment) && deployment.phase !== 'rolling' && all && ready.length > 0
}
