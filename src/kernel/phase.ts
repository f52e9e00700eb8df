/** What a deployment is doing and why, in our own words; each dialect translates (contract: phases, and each dialect's word). */
export const phases = [
  'queued',
  'starting',
  'serving',
  'scaling',
  'rolling',
  'degraded',
  'asleep',
  'waking',
  'stopping',
  'stopped',
  'failed',
  'deleted',
] as const
export type Phase = (typeof phases)[number]

/** What the gateway does with a request: answer, hold until a replica is ready, or refuse with that code. */
export type Answering = 'yes' | 'hold' | 'stopping' | 'stopped' | 'failed' | 'gone'

export const answering: Record<Phase, Answering> = {
  queued: 'hold',
  starting: 'hold',
  serving: 'yes',
  scaling: 'yes',
  rolling: 'yes',
  degraded: 'yes',
  asleep: 'hold',
  waking: 'hold',
  stopping: 'stopping',
  stopped: 'stopped',
  failed: 'failed',
  deleted: 'gone',
}

export interface ReasonMeaning {
  /** Phases in which it is given. */
  phases: readonly Phase[]
  /** Default sentence. */
  message: string
  /** What the owner may do. */
  action: string
  /** Usual wait before it is another one; null = it stays until somebody acts or asks. */
  retryAfterSeconds: number | null
}

const because = (
  phases: readonly Phase[],
  message: string,
  action: string,
  retryAfterSeconds: number | null = null,
): ReasonMeaning => ({ phases, message, action, retryAfterSeconds })

/**
 * Every reason that a deployment gives while it is not simply serving (X2). Every phase but `serving` has one;
 * `docs/errors.md` is compared with this table.
 */
export const reasonTable = {
  starting: because(['starting'], 'A replica is starting.', 'Wait; requests are held meanwhile.', 5),
  start_failed: because(
    ['starting', 'degraded'],
    'The last start failed and is tried again.',
    'Read why with explain and logs; correct it if it stays.',
    5,
  ),
  unresponsive: because(
    ['degraded'],
    'A replica does not answer.',
    'Wait: others answer or requests are held, and it is replaced if it stays so.',
    5,
  ),
  capacity_short: because(
    ['queued', 'serving'],
    'There is no free hardware.',
    'Wait, or ask for fewer replicas or comparable hardware.',
    60,
  ),
  quota_short: because(
    ['asleep', 'serving'],
    'The quota of the organisation leaves no room for more.',
    'Stop or shrink another deployment, or ask the operator to raise the quota.',
    60,
  ),
  price_ceiling: because(
    ['queued', 'serving', 'asleep'],
    'Another replica would cost more than max_hourly_usd allows.',
    'Raise max_hourly_usd, or choose cheaper hardware or fewer replicas.',
  ),
  scaling: because(['scaling'], 'Replicas are starting.', 'Nothing: it answers meanwhile.', 5),
  rolling: because(['rolling'], 'A revision takes over.', 'Nothing: it answers meanwhile.', 5),
  asleep: because(['asleep'], 'It sleeps; the next request wakes it.', 'Send a request, or wake it.'),
  waking: because(['waking'], 'It wakes up: a replica is starting.', 'Wait; requests are held meanwhile.', 5),
  stopping: because(['stopping'], 'It is being stopped.', 'Wait until it is stopped, then start it again.', 10),
  stopped: because(['stopped'], 'It was stopped; start it to use it again.', 'Start it.'),
  stopped_inactive: because(
    ['stopped'],
    'Nobody asked for its inactive timeout, so it was stopped; start it to use it again.',
    'Start it; inactive_timeout_minutes says how long it waits.',
  ),
  stopped_by_schedule: because(
    ['stopped'],
    'Its schedule stopped it and starts it again.',
    'Wait, or start it: then it runs until the schedule says something else.',
  ),
  expired: because(
    ['stopped'],
    'Its lease has ended; give it a later expires_at, or none, and start it.',
    'Set a later expires_at, or null, then start it.',
  ),
  crash_loop: because(['failed'], 'Too many starts in a row failed.', 'Read its last lines, correct it, start it.'),
  deleted: because(['deleted'], 'It was deleted.', 'Create another one; its name is free.'),
} satisfies Record<string, ReasonMeaning>

export type ReasonCode = keyof typeof reasonTable

/** Why something is not serving. `since` is ISO 8601; `retry_after` in seconds. */
export interface Reason {
  code: ReasonCode
  message: string
  since: string
  retry_after?: number
}

/** The reason with this code from `at` on; without a sentence of its own it says the usual one. */
export function reasonOf(code: ReasonCode, at: Date, message: string = reasonTable[code].message): Reason {
  const seconds: number | null = reasonTable[code].retryAfterSeconds
  return { code, message, since: at.toISOString(), ...(seconds === null ? {} : { retry_after: seconds }) }
}
