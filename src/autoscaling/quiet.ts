/**
 * Deployments of which nobody asks anything: looked at when something is due, not at every report. What the reports said
 * meanwhile is not lost: each told, by not naming it, that nobody asked, and the samples of those moments are made when
 * they are needed. Where no report came there is no sample. Pure.
 */
import { type Scaled, sampleOf } from './memory.ts'
import type { Decision } from './state.ts'
import { addSamples, keptSeconds, type LoadWindow, type Sample, samplesMaximum } from './window.ts'

/** The longest that a quiet deployment is left alone; well within what counts as a gap. */
const quietMaximumMs = 12_000

/** A moment at which reports were read. */
export interface Reading {
  at: number
  complete: boolean
  /** Samples of deployments that were not named, by their replicas: the same for all, so that ten thousand share one. */
  quiet: Map<string, Sample>
}

/** The readings that a window may still want, oldest first. */
export class Readings {
  #all: Reading[] = []

  add(at: number, complete: boolean): void {
    // Readings after a clock that was set back replace those of the time that is to come again.
    const kept = this.#all.filter((one) => one.at < at && one.at >= at - keptSeconds * 1000)
    this.#all = [...kept.slice(1 - samplesMaximum), { at, complete, quiet: new Map() }]
  }

  between(after: number, before: number): Reading[] {
    return this.#all.filter(({ at }) => at > after && at < before)
  }
}

/** The window with what the readings since the look before said of a deployment that they did not name. */
export function catchUp(
  window: LoadWindow,
  before: { row: Scaled; at: number } | null,
  readings: Readings,
  now: number,
): LoadWindow {
  if (before === null) return window
  const missed = readings.between(before.at, now)
  return addSamples(
    window,
    missed.map((reading) => quietSample(before.row, reading)),
  )
}

const nothingAsked = { inFlight: 0, held: 0, rejected: 0, arrivals: 0, ttftMsP90: null }

function quietSample(row: Scaled, { at, complete, quiet }: Reading): Sample {
  const key = `${row.ready_replicas}/${row.desired_replicas}`
  let sample = quiet.get(key)
  if (!sample) quiet.set(key, (sample = sampleOf(row, nothingAsked, complete, at)))
  return sample
}

/** When a quiet deployment must be looked at again, if nothing happens before and reports go on, or stay away. */
export function dueAt(
  decision: Decision,
  { window, inactiveMinutes, freshSeconds }: { window: LoadWindow; inactiveMinutes: number; freshSeconds: number },
  now: number,
): number {
  const due = [now + quietMaximumMs, decision.nextLookAt]
  if (decision.holdUntil !== null) due.push(decision.holdUntil)
  if (inactiveMinutes > 0 && window.quietSince !== null) due.push(window.quietSince + inactiveMinutes * 60_000)
  // Without reports what was counted is void once the newest sample is no longer fresh.
  const newest = window.samples.at(-1)
  const staleAt = newest === undefined ? now : newest.at + freshSeconds * 1000
  if (newest !== undefined && newest.at < now && staleAt > now) due.push(staleAt)
  return Math.min(...due)
}
