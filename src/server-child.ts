/**
 * A part of the server in a process of its own: started with its setup over a pipe, restarted when it dies, told to
 * stop, and killed when it does not. The pipe is also the leash: a part whose supervisor is gone ends by itself; and the
 * pulse: a part that lives but does nothing any more is killed, and so started again.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { type Clock, systemClock } from './runtime/clock.ts'
import { environment } from './runtime/environment.ts'
import type { Log } from './runtime/log.ts'

export type ToParent = { kind: 'ready'; port?: number } | { kind: 'alive' } | { kind: 'fatal'; message: string }
export type ToChild<S> = { kind: 'start'; setup: S } | { kind: 'stop' }

/** How often a part says that its event loop turns. */
const pulseEveryMs = 5_000
/**
 * Two minutes: a machine under load, or a garbage collection, is not a hang. Counted in looks of ours, not in time: when
 * all of us were frozen, as a laptop that was closed, nobody was silent.
 */
const missedPulsesMaximum = 24

const firstPauseMs = 50
const longestPauseMs = 5_000
/** Longest that a part takes to end when its leash is cut. */
const endDeadlineMs = 4_000
/** A part that lived this long starts again without a pause. */
const steadyMs = 30_000

export class Part<S> {
  readonly #name: string
  readonly #module: string
  readonly #cacheFolder: string
  readonly #setup: () => Promise<S>
  readonly #clock: Clock
  readonly #log: Log
  readonly #lookEveryMs: number
  #child: ChildProcess | null = null
  #stopping = false
  #failures = 0
  #wasReady = false
  #startedAt = 0
  /** Looks in a row at which the part had said nothing. */
  #missedPulses = 0
  /** Port of the first start, kept over restarts. */
  port: number | null = null

  constructor(options: {
    name: string
    module: string
    cacheFolder: string
    setup: () => Promise<S>
    clock: Clock
    log: Log
    /** Time between two looks at whether it is still alive. */
    lookEveryMs?: number
  }) {
    this.#name = options.name
    this.#module = options.module
    this.#cacheFolder = options.cacheFolder
    this.#setup = options.setup
    this.#clock = options.clock
    this.#log = options.log
    this.#lookEveryMs = options.lookEveryMs ?? pulseEveryMs
  }

  get pid(): number | null {
    return this.#child?.pid ?? null
  }

  /** Resolves when the part says it is ready; rejects when it says it cannot start. */
  start(): Promise<void> {
    return new Promise((ready, failed) => {
      this.#startedAt = this.#clock.monotonicMs()
      const child = fork(this.#module, [], {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
        execArgv: process.execArgv,
        // Compiled code is kept, beside the packages or else the data: a start that compiles nothing takes half the time.
        env: { NODE_COMPILE_CACHE: this.#cacheFolder, ...environment() },
      })
      this.#child = child
      child.on('message', (message: ToParent) => {
        this.#missedPulses = 0
        if (message.kind === 'fatal') failed(new Error(message.message))
        else if (message.kind === 'ready') {
          this.port = message.port ?? this.port
          this.#wasReady = true
          ready()
          void this.#watch(child)
        }
      })
      child.once('error', failed)
      child.once('exit', (code, signal) => {
        failed(new Error(`${this.#name} ended with ${signal ?? `status ${code}`} before it was ready.`))
        this.#onExit(code, signal)
      })
      // The child loads its modules while the setup is still being made.
      this.#setup().then(
        (setup) => child.connected && child.send({ kind: 'start', setup } satisfies ToChild<S>, () => {}),
        (error: Error) => {
          failed(error)
          child.kill('SIGKILL')
        },
      )
    })
  }

  /** Kills the part when it has been silent for too long; its end is then as any other. */
  async #watch(child: ChildProcess): Promise<void> {
    const ended = new AbortController()
    child.once('exit', () => ended.abort())
    for (;;) {
      await this.#clock.sleep(this.#lookEveryMs, ended.signal)
      if (ended.signal.aborted) return
      this.#missedPulses += 1
      if (this.#missedPulses <= missedPulsesMaximum) continue
      this.#log.error({ part: this.#name, pid: child.pid }, 'a part does nothing any more and is killed')
      child.kill('SIGKILL')
      return
    }
  }

  #onExit(code: number | null, signal: string | null): void {
    this.#child = null
    // The first start is its caller's business: a server that cannot start says why and ends.
    if (this.#stopping || !this.#wasReady) return
    const steady = this.#clock.monotonicMs() - this.#startedAt >= steadyMs
    this.#failures = steady ? 0 : this.#failures + 1
    const pause = Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(this.#failures, 10))
    this.#log.warn({ part: this.#name, code, signal, pauseMs: pause }, 'a part ended and is started again')
    void this.#clock.sleep(pause).then(() => {
      // A start that fails ends in an exit, which comes back here.
      if (!this.#stopping) this.start().catch(() => {})
    })
  }

  /** Asks it to stop, kills it after `graceMs`; resolves when it is gone. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true
    const child = this.#child
    if (!child) return
    const gone = new Promise<void>((done) => child.once('exit', () => done()))
    const late = new AbortController()
    if (child.connected) child.send({ kind: 'stop' } satisfies ToChild<S>, () => {})
    void this.#clock.sleep(graceMs, late.signal).then(() => child.kill('SIGKILL'))
    await gone
    late.abort()
  }
}

/** The child's side: calls `run` with the setup; its result stops the part. Ends the process when the leash is cut. */
export function runPart<S>(
  run: (setup: S, tell: (message: ToParent) => void) => Promise<{ stop(): Promise<void> }>,
): void {
  const tell = (message: ToParent) => process.send?.(message, () => {})
  let running: Promise<{ stop(): Promise<void> }> | null = null
  let started = false
  let ending = false
  const beat = async () => {
    while (!ending) {
      await systemClock.sleep(pulseEveryMs)
      tell({ kind: 'alive' })
    }
  }
  const end = async (status: number) => {
    if (ending) return
    ending = true
    // There is nothing to finish yet, and what it waits for may never come.
    if (!started) process.exit(status)
    // A database that is gone must not keep us: what is not over by then is given up.
    void systemClock.sleep(endDeadlineMs).then(() => process.exit(status))
    try {
      await (await running)?.stop()
    } finally {
      process.exit(status)
    }
  }
  // Ctrl-C reaches the whole group; the supervisor decides what it means.
  process.on('SIGINT', () => {})
  process.on('SIGTERM', () => void end(0))
  process.on('disconnect', () => void end(1))
  process.on('message', (message: ToChild<S>) => {
    if (message.kind === 'stop') return void end(0)
    running = run(message.setup, tell)
    running.then(
      () => {
        started = true
        void beat()
      },
      (error: Error) => {
        tell({ kind: 'fatal', message: error.message })
        process.exitCode = 1
        setImmediate(() => process.exit(1))
      },
    )
  })
}
