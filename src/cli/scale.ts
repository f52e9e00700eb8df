/** `paddock scale`: shows or changes how a deployment scales, and on request waits until it has. */
import type { ChangeScaling, Decision, Scaling } from '../wire/native/scaling.ts'
import { type CalendarOptions, calendarBody, calendarText } from './calendar.ts'
import { durationOption, wholeOption } from './deploy.ts'
import { usageFailure } from './failure.ts'
import { aboutDeployment, type Session } from './session.ts'
import { untilSettled } from './wait.ts'
import { counted, elapsedText, timeShown } from './words.ts'

export interface ScaleOptions extends CalendarOptions {
  replicas?: string
  min?: string
  max?: string
  toZero?: boolean
  idle?: string
  cooldown?: string
  inactive?: string
  policy?: string
  concurrency?: string
  on?: boolean
  off?: boolean
  wait?: boolean
  timeout: string
}

const decisionsShown = 5

export async function scale(session: Session, name: string, options: ScaleOptions): Promise<void> {
  const timeoutMs = durationOption('--timeout', options.timeout)
  const change = scaleBody(options)
  const { screen, client } = session
  const calendar = await calendarBody(options, session.clock.now())
  const scaled = Object.keys(change).length > 0
  const isLook = !scaled && Object.keys(calendar).length === 0
  // All of it in one request: all or nothing.
  const body = { ...(scaled ? { scaling: change } : {}), ...calendar }
  const asking = isLook ? client.getDeployment(name) : client.changeDeployment(name, body)
  const deployment = await aboutDeployment(name, asking)
  const asked = await client.getScaling(deployment.id)
  const { data } = isLook ? await client.listDecisions(name, { limit: decisionsShown }) : { data: [] }
  const now = new Date(session.clock.now())
  const told = [
    ...scalingText(name, asked),
    ...calendarText(deployment, now).map(([what, text]) => `Its ${what}: ${text}.`),
  ]
  if (!options.wait) return screen.answer(asked, () => [...told, ...decisionsText(data, now)])
  for (const line of told) screen.note(line)
  // Asleep is settled, too: it has as many as it wants.
  const settled = await untilSettled(
    { session, deployment, timeoutMs },
    'scale',
    (d) =>
      (d.phase === 'serving' && d.ready_replicas === d.desired_replicas) ||
      (d.phase === 'asleep' && d.desired_replicas === 0) ||
      d.phase === 'stopped',
  )
  const after = await client.getScaling(settled.id)
  screen.answer(after, () => `${settled.name} has ${counted(after.ready_replicas, 'replica')} ready.`)
}

/** The change for what was typed. Throws Failure (usage) for numbers that are none and options that exclude each other. */
export function scaleBody(options: ScaleOptions): ChangeScaling {
  if (options.on && options.off) throw usageFailure('--on and --off exclude each other.')
  if (options.replicas !== undefined && (options.min !== undefined || options.max !== undefined || options.on))
    throw usageFailure('--replicas is exactly that many; it goes without --min, --max and --on.')
  const replicas = wholeOption('--replicas', options.replicas)
  const min = options.min === '0' ? 0 : wholeOption('--min', options.min)
  const body: ChangeScaling = {
    min_replicas: replicas ?? min,
    max_replicas: wholeOption('--max', options.max),
    scale_to_zero: options.toZero,
    idle_timeout_seconds: seconds('--idle', options.idle),
    cooldown_seconds: seconds('--cooldown', options.cooldown),
    inactive_timeout_minutes: minutes('--inactive', options.inactive),
    policy: options.policy as ChangeScaling['policy'],
    target_concurrency: wholeOption('--concurrency', options.concurrency),
    autoscaling_enabled: options.off || replicas !== undefined ? false : options.on,
  }
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined))
}

function seconds(flag: string, text: string | undefined): number | undefined {
  return text === undefined ? undefined : Math.ceil(durationOption(flag, text) / 1000)
}

function minutes(flag: string, text: string | undefined): number | undefined {
  if (text === undefined || text === '0') return text === undefined ? undefined : 0
  return Math.ceil(durationOption(flag, text) / 60_000)
}

function scalingText(name: string, s: Scaling): string[] {
  const range = s.autoscaling_enabled
    ? `${name} scales from ${s.min_replicas} to ${s.max_replicas} replicas by ${s.policy}; cooldown ${elapsedText(s.cooldown_seconds * 1000)}.`
    : `${name} has exactly ${counted(s.min_replicas, 'replica')}.`
  const sleeps = s.autoscaling_enabled && (s.scale_to_zero || s.min_replicas === 0)
  return [
    range,
    ...(sleeps ? [`It sleeps after ${elapsedText(s.idle_timeout_seconds * 1000)} without a request.`] : []),
    ...(s.inactive_timeout_minutes > 0 ? [`It is stopped after ${s.inactive_timeout_minutes} quiet minutes.`] : []),
    `${s.ready_replicas} of ${s.desired_replicas} wanted now are ready.`,
  ]
}

function decisionsText(decisions: readonly Decision[], now: Date): string[] {
  return decisions.map(
    (d) => `${timeShown(new Date(d.at), now)}  ${d.from_replicas} → ${d.to_replicas}  ${d.cause}: ${d.why}`,
  )
}
