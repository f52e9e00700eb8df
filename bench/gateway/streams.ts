/** Many streams at once, 50 events a second each. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { systemClock } from '../../src/runtime/clock.ts'
import { type Front, send } from './cost.ts'
import type { Loaded } from './load.ts'
import { quantile } from './numbers.ts'
import type { Helper } from './process.ts'

const paceMs = 20
/** 99 of 100 events come at most one event late. */
const latestGapMs = 2 * paceMs

/** The largest of `counts` at which every event of every stream came, and came in time. */
export async function lossFree(load: Helper, front: Front, counts: readonly number[], events: number): Promise<number> {
  let most = 0
  await send(load, front, { connections: 1, requests: 1, stream: { events: 2, paceMs } })
  for (const count of counts) {
    const loaded = await streams(load, front, count, events)
    if (loaded.answered !== count || loaded.events !== count * events) break
    if (quantile(loaded.gaps, 0.99) > latestGapMs) break
    most = count
  }
  return most
}

export function streams(load: Helper, front: Omit<Front, 'pid'>, count: number, events: number): Promise<Loaded> {
  const { port, headers } = front
  return load.ask({ port, headers, connections: count, requests: count, stream: { events, paceMs } })
}

/** Megabytes that the front holds in memory while so many streams run. */
export async function memoryWith(load: Helper, front: Front, count: number): Promise<number> {
  const events = 250
  await send(load, front, { connections: 1, requests: 1, stream: { events: 2, paceMs } })
  const running = streams(load, front, count, events)
  let most = 0
  for (let look = 0; look < 8; look++) {
    await systemClock.sleep((events * paceMs) / 10)
    most = Math.max(most, residentMb(front.pid))
  }
  await running
  return most
}

function residentMb(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

/** Puts every thread of a process on one core. */
export function pin(pid: number, core: number): void {
  const { status } = spawnSync('taskset', ['-a', '-c', '-p', String(core), String(pid)])
  if (status !== 0) throw new Error('taskset could not bind a process to a core')
}

/** Milliseconds from a client's hanging up to the end of its stream at the engine, each. */
export async function aborts(load: Helper, engine: Helper, front: Front, times: number): Promise<number[]> {
  const took: number[] = []
  const { port, headers } = front
  await send(load, front, { connections: 1, requests: 1, stream: { events: 2, paceMs } })
  await engine.ask({})
  for (let n = 0; n < times; n++) {
    const stream = { events: 500, paceMs }
    const { hungUpAt } = await load.ask<Loaded>({ port, headers, connections: 1, requests: 1, stream, hangUpAfter: 5 })
    took.push(await closedAfter(engine, BigInt(hungUpAt[0] ?? 0)))
  }
  return took
}

async function closedAfter(engine: Helper, hungUpAt: bigint): Promise<number> {
  for (let look = 0; look < 100; look++) {
    const { closedAt } = await engine.ask<{ closedAt: string[] }>({})
    if (closedAt.length > 0) return Number(BigInt(closedAt[0]!) - hungUpAt) / 1e6
    await systemClock.sleep(20)
  }
  return Number.POSITIVE_INFINITY
}
