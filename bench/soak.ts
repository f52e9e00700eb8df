/**
 * The gateway under mixed work for half an hour (`--quick`: one minute): plain requests, streams, clients that leave and
 * large prompts, everything on. What its memory does meanwhile, and whether any request failed.
 */
import { existsSync, readFileSync } from 'node:fs'
import { systemClock } from '../src/runtime/clock.ts'
import { temporaryFolder } from './gateway/folder.ts'
import type { Load, Loaded } from './gateway/load.ts'
import { type Helper, startFront, startHelper } from './gateway/process.ts'
import type { Bench } from './report.ts'

const minutes = 30
const looks = 120
/**
 * Of so many looks, two minutes, the least counts: memory rises for a minute or two and falls when the collector gives
 * back what it had reserved. Waves are no growth, and what grows lifts their valleys.
 */
const looksOfWave = 8
/** The beginning is not looked at: what is compiled and filled once. */
const warmShare = 1 / 3
/** It is about time, not about speed. */
const pauseMs = 500
const slopeMaximumMibPerHour = 12
/** The work of one round, one helper each, again and again. */
const mix: Omit<Load, 'port'>[] = [
  { connections: 8, requests: 400, stream: null },
  { connections: 40, requests: 80, stream: { events: 60, paceMs: 20 } },
  { connections: 4, requests: 4, stream: { events: 500, paceMs: 10 }, hangUpAfter: 5 },
  { connections: 2, requests: 20, stream: null, promptSize: 512 * 1024 },
]

interface Totals {
  answered: number
  left: number
  failed: number
}

export const bench: Bench = {
  name: 'soak',
  about: `Memory of the gateway under ${minutes} minutes of mixed work (--quick: one minute), and requests that failed`,
  run: async (report, { quick, show }) => {
    if (!existsSync('/proc/self/status')) {
      report({
        name: 'growth of memory',
        value: null,
        unit: 'MiB/h',
        target: slopeMaximumMibPerHour,
        why: 'needs Linux',
      })
      return
    }
    const ends: (() => Promise<void>)[] = []
    try {
      const upstream = await startHelper<{ port: number }>('./engine.ts')
      ends.push(upstream.helper.end)
      const setup = { upstreamPort: upstream.started.port, journal: temporaryFolder(ends) }
      const front = await startFront(setup)
      ends.push(front.helper.end)
      const totals: Totals = { answered: 0, left: 0, failed: 0 }
      const seconds = quick ? 60 : minutes * 60
      const until = systemClock.monotonicMs() + seconds * 1000
      const working = mix.map((load) => work({ ...load, port: front.started.port }, until, totals, ends))
      const samples = await memory(front.helper.pid, seconds)
      await Promise.all(working)
      const warm = samples.slice(Math.floor(samples.length * warmShare))
      // A minute says nothing of an hour.
      const bound = quick ? {} : { target: slopeMaximumMibPerHour }
      report({ name: 'growth of memory', value: slopePerHour(valleys(warm)), unit: 'MiB/h', ...bound })
      report({ name: 'most memory', value: Math.max(...samples.map(({ mib }) => mib)), unit: 'MiB' })
      report({ name: 'requests answered', value: totals.answered, unit: '' })
      report({ name: 'clients that left', value: totals.left, unit: '' })
      report({ name: 'requests failed', value: totals.failed, unit: '', target: 0 })
      show(
        `MiB: ${samples
          .filter((_, n) => n % (looks / 12) === 0)
          .map(({ mib }) => mib.toFixed(0))
          .join(' ')}`,
      )
    } finally {
      for (const end of ends.reverse()) await end()
    }
  },
}

async function work(load: Load, until: number, totals: Totals, ends: (() => Promise<void>)[]): Promise<void> {
  const { helper }: { helper: Helper } = await startHelper('./load.ts')
  ends.push(helper.end)
  while (systemClock.monotonicMs() < until) {
    const { answered, failed, hungUpAt } = await helper.ask<Loaded>(load)
    totals.answered += answered
    totals.left += hungUpAt.length
    totals.failed += failed
    await systemClock.sleep(pauseMs)
  }
}

interface Sample {
  hours: number
  mib: number
}

async function memory(pid: number, seconds: number): Promise<Sample[]> {
  const samples: Sample[] = []
  for (let look = 0; look < looks; look++) {
    await systemClock.sleep((seconds * 1000) / looks)
    const kib = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
    samples.push({ hours: (look * seconds) / looks / 3600, mib: kib / 1024 })
  }
  return samples
}

/** The least of each wave; of fewer looks than one has, all of them. */
function valleys(samples: readonly Sample[]): readonly Sample[] {
  const least: Sample[] = []
  for (let at = 0; at + looksOfWave <= samples.length; at += looksOfWave)
    least.push(samples.slice(at, at + looksOfWave).reduce((a, b) => (b.mib < a.mib ? b : a)))
  return least.length > 1 ? least : samples
}

/** Least squares. */
function slopePerHour(samples: readonly Sample[]): number {
  const mean = (of: (sample: Sample) => number) => samples.reduce((sum, one) => sum + of(one), 0) / samples.length
  const hours = mean((one) => one.hours)
  const mib = mean((one) => one.mib)
  const across = mean((one) => (one.hours - hours) * (one.mib - mib))
  return across / mean((one) => (one.hours - hours) ** 2)
}
