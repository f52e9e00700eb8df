/** Processes of a bench, and what they cost. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { gatewayFlags } from '../../src/server-gateway-setup.ts'

export interface Helper {
  pid: number
  /** Sends a message and resolves with the next one that comes back. */
  ask<T>(message: object): Promise<T>
  end(): Promise<void>
}

/** Starts a module beside this one; its first message is what `started` gets. */
export async function startHelper<T>(
  module: string,
  setup: object = {},
  execArgv: string[] = [],
): Promise<{ helper: Helper; started: T }> {
  const child: ChildProcess = fork(new URL(module, import.meta.url), [JSON.stringify(setup)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    execArgv: [...process.execArgv, ...execArgv],
  })
  const waiting = { resolve: (_message: unknown) => {}, reject: (_error: Error) => {} }
  child.on('message', (message) => waiting.resolve(message))
  child.on('exit', () => waiting.reject(new Error(`${module} ended`)))
  const next = <M>(): Promise<M> =>
    new Promise((resolve, reject) => {
      waiting.resolve = resolve as (message: unknown) => void
      waiting.reject = reject
    })
  const helper: Helper = {
    pid: child.pid!,
    ask: (message) => {
      const answer = next<never>()
      child.send(message)
      return answer
    },
    end: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      const gone = once(child, 'exit')
      child.disconnect()
      await gone
    },
  }
  return { helper, started: await next<T>() }
}

/** CPU time that all threads of a process have used, in microseconds. Linux. */
export function cpuMicroseconds(pid: number): number {
  let total = 0
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const [ns] = readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')
    total += Number(ns) / 1000
  }
  return total
}

/** As the server starts its gateway; with `workers` as threads of one process. */
export function startFront(setup: object, workers = 1): Promise<{ helper: Helper; started: { port: number } }> {
  if (workers === 1) return startHelper('./front.ts', setup, [...gatewayFlags])
  return startHelper('./front-workers.ts', { ...setup, workers }, [...gatewayFlags])
}
