/**
 * Keeps the samples of the last hour small: those of gateways that are five minutes old are put together, a line for
 * every minute, deployment and operation; what is older than an hour goes. Each step is one transaction, so that a line
 * is there as it came or within its minute, never both and never neither.
 */
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import type { Database } from '../../store/database.ts'
import { Sample } from './sample.ts'
import type { Batch, StoredSample } from './store.ts'
import { forgetBefore, lockMinutes, minuteSource, minutesOf, replaceBatch, takeBefore } from './store.ts'

const everyMs = 30_000
const minuteMs = 60_000
/** Above the longest window but one, which needs lines as fine as they came. */
const fineMs = 6 * minuteMs
/** Above the longest window. */
const keptMs = 65 * minuteMs
/** Lines of one transaction. */
const linesMaximum = 2_000

export interface KeepingParts {
  db: Database
  clock: Clock
  log: Log
  /** Whoever counts every line hears before some of them are put together. */
  beforehand(): Promise<void>
}

/** Until the signal; never rejects. */
export async function keepMetrics(parts: KeepingParts, signal: AbortSignal): Promise<void> {
  const { clock, log } = parts
  while (!signal.aborted) {
    await keepMetricsOnce(parts, signal).catch((error: Error) =>
      log.warn({ error: error.message }, 'metrics could not be put together'),
    )
    await clock.sleep(everyMs, signal)
  }
}

export async function keepMetricsOnce(
  { db, clock, beforehand }: Omit<KeepingParts, 'log'>,
  signal?: AbortSignal,
): Promise<void> {
  await beforehand()
  const before = Math.floor((clock.now() - fineMs) / minuteMs) * minuteMs
  let taken = 0
  do {
    taken = await db.tx(async (tx) => {
      await lockMinutes(tx)
      const lines = await takeBefore(tx, before, linesMaximum)
      if (lines.length === 0) return 0
      const minutes = [...new Set(lines.map(minuteOf))]
      for (const batch of byMinute([...(await minutesOf(tx, minutes)), ...lines])) await replaceBatch(tx, batch)
      return lines.length
    })
  } while (taken === linesMaximum && !signal?.aborted)
  await forgetBefore(db, clock.now() - keptMs)
}

function minuteOf({ source, seq, at }: StoredSample): number {
  return source === minuteSource ? seq : Math.floor(at.getTime() / minuteMs)
}

/** A batch for every minute, all lines of a deployment and operation added up (pure). */
export function byMinute(lines: readonly StoredSample[]): Batch[] {
  const batches = new Map<number, { beganAt: number; at: number; samples: Map<string, Sample> }>()
  for (const line of lines) {
    const minute = minuteOf(line)
    const own = batches.get(minute) ?? { beganAt: Number.POSITIVE_INFINITY, at: 0, samples: new Map() }
    batches.set(minute, own)
    own.beganAt = Math.min(own.beganAt, line.beganAt.getTime())
    own.at = Math.max(own.at, line.at.getTime())
    const key = `${line.deploymentId} ${line.operation}`
    const sample = own.samples.get(key) ?? new Sample()
    own.samples.set(key, sample)
    sample.merge(Sample.of(line.sample))
  }
  return [...batches].map(([minute, { beganAt, at, samples }]) => ({
    source: minuteSource,
    seq: minute,
    beganAt,
    at,
    entries: [...samples].map(([key, sample]) => {
      const [deploymentId, operation] = key.split(' ') as [string, string]
      return { deploymentId, operation, sample: sample.line() }
    }),
  }))
}
