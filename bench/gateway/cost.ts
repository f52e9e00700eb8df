/** What requests cost a front in CPU. */
import type { Load, Loaded } from './load.ts'
import { cpuMicroseconds, type Helper } from './process.ts'

interface Front {
  pid: number
  port: number
}

/** Microseconds of CPU per request, or per event of streams. */
export async function cost(load: Helper, front: Front, what: Omit<Load, 'port'>): Promise<number> {
  const before = cpuMicroseconds(front.pid)
  const loaded = await load.ask<Loaded>({ ...what, port: front.port })
  const used = cpuMicroseconds(front.pid) - before
  if (loaded.answered !== what.requests)
    throw new Error(`${loaded.answered} of ${what.requests} requests were answered with 200`)
  return used / (what.stream ? loaded.events : loaded.answered)
}
