/**
 * A part of the server in a process or a thread of its own: started with its setup, restarted when it dies, told to
 * stop, and killed when it does not. What carries its messages is also the leash: a part whose parent is gone ends by
 * itself; and the pulse: a part that lives but does nothing any more is killed, and so started again.
 */
import { parentPort } from 'node:worker_threads'
import { type Clock, systemClock } from './runtime/clock.ts'
import type { Log } from './runtime/log.ts'
import type { Launch, Running, ToChild, ToParent } from './server-launch.ts'

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
/** A part that lived this long starts again after the shortest pause. */
const steadyMs = 30_000

/** Of a part that died: how long until it is started again. `failures`: deaths in a row without a steady life between. */
function pauseAfter(failures: number): number {
  return Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(failures, 10))
}

export class Part<S> {
  readonly #name: string
  readonly #launch: Launch<S>
  readonly #setup: () => Promise<S>
  readonly #clock: Clock
  readonly #log: Log
  readonly #lookEveryMs: number
  readonly #onEnd: () => void
  #running: Running<S> | null = null
  #gone: Promise<void> = Promise.resolve()
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
    launch: Launch<S>
    setup: () => Promise<S>
    clock: Clock
    log: Log
    /** Time between two looks at whether it is still alive. */
    lookEveryMs?: number
    /** Called whenever it has ended, before it is started again. */
    onEnd?: () => void
  }) {
    this.#name = options.name
    this.#launch = options.launch
    this.#setup = options.setup
    this.#clock = options.clock
    this.#log = options.log
    this.#lookEveryMs = options.lookEveryMs ?? pulseEveryMs
    this.#onEnd = options.onEnd ?? (() => {})
  }

  get pid(): number | null {
    return this.#running?.pid ?? null
  }

  /** Resolves when the part says it is ready; rejects when it says it cannot start. */
  start(): Promise<void> {
    return new Promise((ready, failed) => {
      this.#startedAt = this.#clock.monotonicMs()
      let gone = () => {}
      this.#gone = new Promise((resolve) => {
        gone = resolve
      })
      const broke = (error: Error) => {
        failed(error)
        if (this.#wasReady) this.#log.error({ part: this.#name, error: error.stack ?? String(error) }, 'a part broke')
      }
      const over = new AbortController()
      const running = this.#launch({
        message: (message) => {
          this.#missedPulses = 0
          if (message.kind === 'fatal') return broke(new Error(message.message))
          if (message.kind === 'alive') return
          this.port = message.port ?? this.port
          this.#wasReady = true
          ready()
          void this.#watch(running, over.signal)
        },
        failed: broke,
        ended: (code, signal) => {
          over.abort()
          failed(new Error(`${this.#name} ended with ${signal ?? `status ${code}`} before it was ready.`))
          this.#onExit(code, signal)
          gone()
        },
      })
      this.#running = running
      // The child loads its modules while the setup is still being made.
      this.#setup().then(
        (setup) => running.send({ kind: 'start', setup }),
        (error: Error) => {
          failed(error)
          running.kill()
        },
      )
    })
  }

  /** Kills the part when it has been silent for too long; its end is then as any other. */
  async #watch(running: Running<S>, over: AbortSignal): Promise<void> {
    for (;;) {
      await this.#clock.sleep(this.#lookEveryMs, over)
      if (over.aborted) return
      this.#missedPulses += 1
      if (this.#missedPulses <= missedPulsesMaximum) continue
      this.#log.error({ part: this.#name, pid: running.pid }, 'a part does nothing any more and is killed')
      running.kill()
      return
    }
  }

  #onExit(code: number | null, signal: string | null): void {
    this.#running = null
    this.#onEnd()
    // The first start is its caller's business: a server that cannot start says why and ends.
    if (this.#stopping || !this.#wasReady) return
    const steady = this.#clock.monotonicMs() - this.#startedAt >= steadyMs
    this.#failures = steady ? 0 : this.#failures + 1
    const pauseMs = pauseAfter(this.#failures)
    this.#log.warn({ part: this.#name, code, signal, pauseMs }, 'a part ended and is started again')
    void this.#clock.sleep(pauseMs).then(() => {
      // A start that fails ends in an exit, which comes back here.
      if (!this.#stopping) this.start().catch(() => {})
    })
  }

  /** Asks it to stop, kills it after `graceMs`; resolves when it is gone. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true
    const running = this.#running
    if (running === null) return
    const late = new AbortController()
    running.send({ kind: 'stop' })
    void this.#clock.sleep(graceMs, late.signal).then(() => late.signal.aborted || running.kill())
    await this.#gone
    late.abort()
  }
}

/** The child's side: calls `run` with the setup; its result stops the part. A process ends when its leash is cut. */
export function runPart<S>(
  run: (setup: S, tell: (message: ToParent) => void) => Promise<{ stop(): Promise<void> }>,
): void {
  const tell = (message: ToParent) => {
    if (parentPort === null) process.send?.(message, () => {})
    else parentPort.postMessage(message)
  }
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
  // In a thread, `process.exit` ends the thread.
  const leash = parentPort ?? process
  leash.on('message', (message: ToChild<S>) => {
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
