/**
 * The program that keeps one engine: `node keeper.ts <run folder> <marker>`, in a session of its own. It needs nobody:
 * control, supervisor and database may all be gone. It ends its engine when SIGTERM asks for it, when the lease is not
 * renewed, or when the run folder goes away; it records how the engine ended; then it ends too. When it is killed
 * itself, the engine gets SIGKILL from the kernel (guard.ts) and its stdin closes.
 *
 * Every import is paid at every start of a replica: builtins and small files only.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { statSync, utimesSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { basename, dirname } from 'node:path'
import type { ReplicaId } from '../../kernel/ids.ts'
import { type Clock, systemClock } from '../../runtime/clock.ts'
import { createFileOnce, writeFileAtomic } from '../../runtime/files.ts'
import { identify } from '../../runtime/processes.ts'
import { type Cause, whyItEnded } from './ending.ts'
import { type LeaseWatch, lookAtLease, lookEveryMs } from './lease.ts'
import { EngineOutput } from './output.ts'
import { type KeeperOrder, type KeeperRecord, RunFolder } from './run-folder.ts'

/** After the engine's end: how long its last output may take to arrive. */
const lastOutputMs = 500
/** A full disk may free up: tries to record the exit, one a second. */
const recordTriesMaximum = 30

class Keeper {
  readonly #run: RunFolder
  readonly #order: KeeperOrder
  readonly #clock: Clock
  readonly #output: EngineOutput
  readonly #ended = new AbortController()
  #record: KeeperRecord
  #engine: ChildProcess | null = null
  #stop: { cause: Cause; askedAtMs: number; deadlineMs: number } | null = null
  #killedAfterSeconds: number | null = null

  constructor(run: RunFolder, order: KeeperOrder, record: KeeperRecord, clock: Clock) {
    this.#run = run
    this.#order = order
    this.#record = record
    this.#clock = clock
    this.#output = new EngineOutput(run.file('log'))
  }

  start(): void {
    const { argv, env, cwd, account } = this.#order
    const engine = spawn(argv[0]!, argv.slice(1), {
      env,
      cwd,
      detached: true,
      stdio: 'pipe',
      ...(account === null ? {} : account),
    })
    this.#engine = engine
    engine.stdin.on('error', () => {})
    for (const source of [engine.stdout, engine.stderr]) {
      const sink = this.#output.stream()
      source.on('data', sink).once('end', () => sink(null))
    }
    engine.once('error', (error) => this.#notStarted(error))
    engine.once('exit', (code, signal) => void this.#finish(code, signal))
    if (engine.pid !== undefined) this.#recordEngine(engine.pid)
    void this.#watchLease()
  }

  /** Asks the engine to end, and kills it when its grace is over. Asking again can only shorten the grace. */
  stop(cause: Cause): void {
    const graceMs = (this.#run.stop()?.graceSeconds ?? this.#order.stopGraceSeconds) * 1000
    const nowMs = this.#clock.monotonicMs()
    if (this.#stop !== null) {
      this.#stop.deadlineMs = Math.min(this.#stop.deadlineMs, this.#stop.askedAtMs + graceMs)
      return
    }
    this.#stop = { cause, askedAtMs: nowMs, deadlineMs: nowMs + graceMs }
    this.#engine?.kill('SIGTERM')
    void this.#killWhenLate()
  }

  /** Last resort when this program itself is broken. */
  abandon(error: unknown): void {
    this.#output.lastLines.push(`keeper: ${error instanceof Error ? error.stack : String(error)}`)
    this.stop('keeper_failed')
  }

  #recordEngine(pid: number): void {
    this.#record = {
      ...this.#record,
      enginePid: pid,
      engineStart: identify(pid)?.start ?? '',
      startedAt: this.#clock.now(),
    }
    writeFileAtomic(this.#run.file('keeper.json'), JSON.stringify(this.#record))
    flushCompileCache()
  }

  async #watchLease(): Promise<void> {
    const { leaseSeconds } = this.#order
    let watch: LeaseWatch = { mark: this.#leaseMark(), changedAtMs: this.#clock.monotonicMs(), missing: 0 }
    for (;;) {
      await this.#clock.sleep(lookEveryMs(leaseSeconds), this.#ended.signal)
      if (this.#ended.signal.aborted || this.#stop !== null) return
      const look = lookAtLease(watch, this.#leaseMark(), this.#clock.monotonicMs(), leaseSeconds)
      watch = look.watch
      if (look.verdict === 'expired') return this.stop('lease')
      if (look.verdict === 'folder_gone') return this.stop('folder_gone')
      this.#signOfLife()
    }
  }

  /** Every renewal changes the time of last status change, which nobody can set back. */
  #leaseMark(): string | null {
    try {
      return String(statSync(this.#run.file('lease'), { bigint: true }).ctimeNs)
    } catch {
      return null
    }
  }

  /** Should this process be killed, the record's time tells until when it lived. */
  #signOfLife(): void {
    try {
      const now = new Date(this.#clock.now())
      utimesSync(this.#run.file('keeper.json'), now, now)
    } catch {
      // The look at the lease will notice that the folder is gone.
    }
  }

  async #killWhenLate(): Promise<void> {
    const stop = this.#stop!
    for (;;) {
      const leftMs = stop.deadlineMs - this.#clock.monotonicMs()
      if (this.#ended.signal.aborted) return
      if (leftMs <= 0) break
      await this.#clock.sleep(Math.min(leftMs, 100), this.#ended.signal)
    }
    this.#killedAfterSeconds = Math.round((this.#clock.monotonicMs() - stop.askedAtMs) / 100) / 10
    this.#killGroup()
  }

  /** The engine and whatever it started that stayed in its process group. */
  #killGroup(): void {
    const pid = this.#engine?.pid
    if (pid === undefined) return
    try {
      process.kill(-pid, 'SIGKILL')
    } catch {
      // nobody left
    }
  }

  async #finish(code: number | null, signal: string | null): Promise<void> {
    const at = this.#clock.now()
    const cause = this.#stop?.cause ?? 'by_itself'
    this.#ended.abort()
    this.#killGroup()
    await Promise.race([once(this.#engine!, 'close'), this.#clock.sleep(lastOutputMs)])
    const { leaseSeconds } = this.#order
    const why = whyItEnded({ cause, code, signal, killedAfterSeconds: this.#killedAfterSeconds, leaseSeconds })
    await this.#recordExit({ at, code, signal, why })
  }

  #notStarted(error: Error): void {
    if (this.#engine?.pid !== undefined) return
    this.#ended.abort()
    const why = `The engine could not be started: ${error.message}.`
    void this.#recordExit({ at: this.#clock.now(), code: null, signal: null, why })
  }

  async #recordExit(exit: { at: number; code: number | null; signal: string | null; why: string }): Promise<void> {
    const content = JSON.stringify({ ...exit, lastLines: this.#output.lastLines })
    for (let tries = 0; tries < recordTriesMaximum && this.#run.exists(); tries++) {
      try {
        createFileOnce(this.#run.file('exit.json'), content)
        break
      } catch {
        await this.#clock.sleep(1_000)
      }
    }
    process.exit(0)
  }
}

function main(path: string, marker: string): void {
  process.umask(0o077)
  const run = new RunFolder(dirname(path), basename(path) as ReplicaId)
  const order = run.order()
  const self = identify(process.pid)
  if (order === null || order.marker !== marker || self === null) process.exit(3)
  const record: KeeperRecord = { ...self, enginePid: 0, engineStart: '', startedAt: systemClock.now() }
  const keeper = new Keeper(run, order, record, systemClock)
  process.on('SIGTERM', () => keeper.stop('asked'))
  process.on('SIGINT', () => {})
  process.on('SIGHUP', () => {})
  // Of all keepers that were started for this replica, however that came about, one gets past this line.
  if (!createFileOnce(run.file('keeper.json'), JSON.stringify(record))) process.exit(3)
  process.on('uncaughtException', (error) => keeper.abandon(error))
  process.on('unhandledRejection', (error) => keeper.abandon(error))
  keeper.start()
}

main(process.argv[2]!, process.argv[3]!)
