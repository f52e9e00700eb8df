/** What requests cost a front in CPU. */
import type { Load, Loaded } from './load.ts'
import { cpuMicroseconds, type Helper } from './process.ts'

/** What answers requests in a bench, and how to ask it. */
export interface Front {
  pid: number
  port: number
  /** Header lines that it wants. */
  headers?: string[]
}

export type Asked = Omit<Load, 'port' | 'headers'>

/** Sends the load; throws when not every request was answered. */
export async function send(load: Helper, front: Omit<Front, 'pid'>, what: Asked): Promise<Loaded> {
  const loaded = await load.ask<Loaded>({ ...what, port: front.port, headers: front.headers })
  if (loaded.answered !== what.requests)
    throw new Error(`${loaded.answered} of ${what.requests} requests were answered with 200`)
  return loaded
}

/** Microseconds of CPU per request, or per event of streams. */
export async function cost(load: Helper, front: Front, what: Asked): Promise<number> {
  const before = cpuMicroseconds(front.pid)
  const loaded = await send(load, front, what)
  const used = cpuMicroseconds(front.pid) - before
  return used / (what.stream === null ? loaded.answered : loaded.events)
}
