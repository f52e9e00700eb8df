/** How a part of the server comes to run, and what goes to and fro between it and its parent. */
import { fork } from 'node:child_process'
import { Worker } from 'node:worker_threads'
import { environment } from './runtime/environment.ts'

export type ToParent = { kind: 'ready'; port?: number } | { kind: 'alive' } | { kind: 'fatal'; message: string }
export type ToChild<S> = { kind: 'start'; setup: S } | { kind: 'stop' }

/** What a running part does, as its parent hears of it. */
export interface Hearing {
  message(message: ToParent): void
  /** It could not be started, or broke. */
  failed(error: Error): void
  /** Nothing of it runs any more. */
  ended(code: number | null, signal: string | null): void
}

/** A running part, as its parent holds it. */
export interface Running<S> {
  /** Of its process; null when it has none of its own. */
  pid: number | null
  /** Does nothing when it has ended. */
  send(message: ToChild<S>): void
  kill(): void
}

export type Launch<S> = (hearing: Hearing) => Running<S>

export interface InProcess {
  module: string
  /** Where compiled code is kept. */
  cacheFolder: string
  args?: string[]
  /** Of node. */
  flags?: readonly string[]
}

/** In a process of its own. */
export function inProcess<S>(options: InProcess): Launch<S> {
  return (hearing) => {
    const child = fork(options.module, options.args ?? [], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      execArgv: [...process.execArgv, ...(options.flags ?? [])],
      // Compiled code is kept, beside the packages or else the data: a start that compiles nothing takes half the time.
      env: { NODE_COMPILE_CACHE: options.cacheFolder, ...environment() },
    })
    child.on('message', hearing.message)
    child.once('error', hearing.failed)
    child.once('exit', hearing.ended)
    return {
      pid: child.pid ?? null,
      send: (message) => void (child.connected && child.send(message as object, () => {})),
      kill: () => void child.kill('SIGKILL'),
    }
  }
}

/** In a thread of this process. One that needs more JavaScript memory than it may have ends, and nothing else does. */
export function inThread<S>(options: { module: string; heapMegabytes: number }): Launch<S> {
  return (hearing) => {
    const thread = new Worker(options.module, { resourceLimits: { maxOldGenerationSizeMb: options.heapMegabytes } })
    thread.on('message', hearing.message)
    thread.on('error', hearing.failed)
    thread.once('exit', (code) => hearing.ended(code, null))
    return {
      pid: null,
      send: (message) => thread.postMessage(message),
      kill: () => void thread.terminate(),
    }
  }
}
