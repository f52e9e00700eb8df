/**
 * What one deployment was asked for lately: a bounded window of samples, plain JSON, counted per deployment, so that
 * traffic for its adapters is in it by construction. A sample that is missing is missing: it is never taken for zero,
 * neither in an average nor as quiet time; and a part of one is no quiet time either.
 */

/** One look at the gateways' counters. Counts without a unit are requests. */
export interface Sample {
  /** When it was taken, ms since epoch, by the clock that `decide` is given. */
  at: number
  /** With a replica at that moment. */
  inFlight: number
  /** Waiting at the gateway at that moment. */
  held: number
  /** Turned away since the sample before, for want of a replica or a place to wait. */
  rejected: number
  /** Replicas that answer at that moment. */
  ready: number
  /** Replicas on their way. */
  pending: number
  /** 90th percentile of the time to the first token of late; null = nothing was answered. */
  ttftMsP90: number | null
  /** Arrived since the sample before. */
  arrivals: number
  /** A registered gateway was silent: at least this much was asked. */
  partial?: boolean
}

export interface LoadWindow {
  /** Oldest first. */
  samples: Sample[]
  /** Last moment with demand, or since when anything is known; ms since epoch. null = nothing was ever seen. */
  quietSince: number | null
}

/** Samples kept, at most. */
export const samplesMaximum = 240
/** Seconds that samples are kept. */
export const keptSeconds = 120
/** Longer without a sample, and the time between counts as unknown: it is no quiet time. */
export const gapSecondsMaximum = 20

export const emptyWindow: LoadWindow = { samples: [], quietSince: null }

/**
 * The window with one more sample. A sample older than those before it means that the clock was set back: what lies
 * after it is dropped, because it would not age before the clock has caught up.
 */
export function addSample(window: LoadWindow, sample: Sample): LoadWindow {
  const oldest = sample.at - keptSeconds * 1000
  const before = window.samples.filter(({ at }) => at < sample.at && at >= oldest)
  const samples = [...before, sample].slice(-samplesMaximum)
  return { samples, quietSince: quietSince(window, before.at(-1), sample) }
}

/** The same with many, oldest first, each newer than all that the window has. */
export function addSamples(window: LoadWindow, added: readonly Sample[]): LoadWindow {
  const newest = added.at(-1)
  if (newest === undefined) return window
  const all = [...window.samples, ...added]
  let quiet = window.quietSince
  for (let at = window.samples.length; at < all.length; at += 1)
    quiet = quietSince({ samples: [], quietSince: quiet }, all[at - 1], all[at]!)
  const oldest = newest.at - keptSeconds * 1000
  return { samples: all.filter(({ at }) => at >= oldest).slice(-samplesMaximum), quietSince: quiet }
}

function quietSince(window: LoadWindow, last: Sample | undefined, sample: Sample): number {
  const unknown = last === undefined || sample.at - last.at > gapSecondsMaximum * 1000
  if (unknown || sample.partial || hadDemand(sample) || window.quietSince === null) return sample.at
  return Math.min(window.quietSince, sample.at)
}

/** Requests that wanted to be served at that moment: those held and those turned away are demand too. */
export function demandOf(sample: Sample): number {
  return sample.inFlight + sample.held + sample.rejected
}

/** True when anybody asked since the sample before, however short the answer. */
export function hadDemand(sample: Sample): boolean {
  return demandOf(sample) > 0 || sample.arrivals > 0
}

/** Samples of the last `seconds`, oldest first. */
export function within(window: LoadWindow, now: number, seconds: number): Sample[] {
  return window.samples.filter(({ at }) => at <= now && at > now - seconds * 1000)
}

/** Mean over the samples of the last `seconds`; null = there are none. */
export function average(
  window: LoadWindow,
  now: number,
  seconds: number,
  of: (sample: Sample) => number,
): number | null {
  const values = within(window, now, seconds).map(of)
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Largest over the samples of the last `seconds`; null = there are none. */
export function peak(window: LoadWindow, now: number, seconds: number, of: (sample: Sample) => number): number | null {
  const values = within(window, now, seconds).map(of)
  return values.length === 0 ? null : Math.max(...values)
}

/** Sum over the samples of the last `seconds`: for what is counted since the sample before. */
export function total(window: LoadWindow, now: number, seconds: number, of: (sample: Sample) => number): number {
  return within(window, now, seconds).reduce((sum, sample) => sum + of(sample), 0)
}

/** The newest sample, unless it is older than `seconds`. */
export function freshest(window: LoadWindow, now: number, seconds: number): Sample | null {
  return within(window, now, seconds).at(-1) ?? null
}
