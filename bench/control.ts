/**
 * The control plane with many deployments of three replicas each, on the real server with the simulated fleet and a real
 * Postgres: how long a start of control takes until everything was looked at, what it costs while nothing happens, and
 * how soon something follows from what happens, while all the rest is idle. At several sizes: it should grow with them.
 * On a machine that others use too, the CPU seconds say more than the time.
 */
import { loadavg } from 'node:os'
import { environment } from '../src/runtime/environment.ts'
import { Place } from '../test/e2e/place.ts'
import { Fleet } from './control/fleet.ts'
import { deaths, gatewayStart, idleCost, propagationMs, resync, wishes } from './control/measures.ts'
import { parts } from './control/usage.ts'
import { median } from './median.ts'
import type { Bench, Measured } from './report.ts'

type Report = (measured: Measured) => void

const usual = { sizes: [1_000, 3_000, 10_000], idleSeconds: 15, events: 100 }
const quick = { sizes: [50, 100], idleSeconds: 3, events: 10 }
const targets = { resyncSeconds: 10, eventMs: 1_000, growth: 1.3 }

export const bench: Bench = {
  name: 'control',
  about: 'Control plane at 1,000, 3,000 and 10,000 deployments of 3 replicas: full resync, idle cost, event to action',
  run: async (report, options) => {
    const place = new Place()
    try {
      const fleet = await Fleet.start(place)
      try {
        await measure(fleet, { ...(options.quick ? quick : usual), ...sizesAsked() }, report)
      } finally {
        await fleet.stop()
      }
    } finally {
      await place.remove()
    }
  },
}

/** BENCH_SIZES=1000,3000 instead of the usual ones. */
function sizesAsked(): { sizes?: number[] } {
  const text = environment().BENCH_SIZES
  return text === undefined ? {} : { sizes: text.split(',').map(Number) }
}

async function measure(fleet: Fleet, { sizes, idleSeconds, events }: typeof usual, report: Report): Promise<void> {
  const costs: Cost[] = []
  for (const size of sizes) {
    await fleet.grow(size)
    const tell = (name: string, value: number, unit: string, target?: number) =>
      report({
        name: `${size}: ${name}`,
        value,
        unit,
        why: `load ${loadavg()[0]!.toFixed(1)}`,
        ...(target === undefined || size !== sizes.at(-1) ? {} : { target }),
      })
    const { seconds, cpu } = await resync(fleet)
    tell('full resync, from the start of control', seconds, 's', targets.resyncSeconds)
    for (const part of ['control', 'postgres'] as const) tell(`full resync: CPU of ${part}`, cpu[part], 's')
    tell('gateway: start to ready', await gatewayStart(fleet), 's')
    const idle = await idleCost(fleet, idleSeconds)
    for (const part of parts) tell(`idle: CPU of ${part}`, idle.cpu[part] * 100, '% of a core')
    tell('idle: memory of control', idle.controlMb, 'MB')
    tell('idle: memory of gateway', idle.gatewayMb, 'MB')
    tell('a changed route is known to the gateway', await propagationMs(fleet), 'ms')
    for (const [what, happen] of [
      ['a wish → its replica is asked for', wishes],
      ['a replica dies → its successor is asked for', deaths],
    ] as const) {
      const { ms, cpu, seconds } = await happen(fleet, events)
      tell(`${what}, median`, median(ms), 'ms')
      tell(`${what}, p99`, percentile(ms, 0.99), 'ms', targets.eventMs)
      // Beyond what is used while nothing happens.
      for (const part of ['control', 'postgres'] as const)
        tell(`${what}: CPU of ${part}`, ((cpu[part] - idle.cpu[part] * seconds) / events) * 1000, 'ms each')
    }
    costs.push({ size, resync: cpu.control, idle: idle.cpu.control, memory: idle.controlMb })
  }
  growth(costs, report)
}

interface Cost {
  size: number
  resync: number
  idle: number
  memory: number
}

/** The share by which the largest costs more per deployment than the one before it; 1 = as much. */
function growth(costs: Cost[], report: Report): void {
  const [smaller, largest] = costs.slice(-2)
  if (smaller === undefined || largest === undefined) return
  const factor = largest.size / smaller.size
  for (const [what, cost] of [
    ['CPU of a resync', 'resync'],
    ['idle CPU', 'idle'],
    ['memory', 'memory'],
  ] as const) {
    const value = largest[cost] / smaller[cost] / factor
    const name = `${what} per deployment, ${largest.size} ÷ ${smaller.size}`
    report({ name, value, unit: '×', target: targets.growth })
  }
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.ceil(sorted.length * share) - 1]!
}
