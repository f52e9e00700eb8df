/**
 * The demo's own server: a child of this process with a data folder of its own, its output in a log file. It ends when
 * it is told to, and also when this process ends in whatever way, because its standard input is a pipe of ours.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../runtime/clock.ts'
import { environment } from '../../runtime/environment.ts'
import { readIfThere, readJsonIfThere } from '../../runtime/files.ts'
import { listProcesses, processTree } from '../../runtime/process-table.ts'
import { childEnv, endProcess, identify, type ProcessIdentity, signalProcess } from '../../runtime/processes.ts'
import { modulePath, packageRoot } from '../../runtime/self.ts'
import { NativeClient } from '../../wire/native/client.ts'
import { exitStatus, Failure } from '../failure.ts'
import { readableLog } from './log-text.ts'
import type { Place } from './place.ts'
import { demoHost } from './port.ts'

const everyMs = 25
const startDeadlineMs = 120_000
/** A clean stop takes at most ten seconds; whoever needs twice that is ended the hard way. */
const stopDeadlineMs = 20_000
/** Engines that nobody renews end after this, should everything else be killed. */
const leaseSeconds = 60
const leftGraceMs = 2_000
/** One that had just been begun shows up after the others were ended. */
const leftLooksMaximum = 5
const linesShown = 12

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
}

export class DemoServer {
  readonly url: string
  readonly #child: ChildProcess
  readonly #place: Place
  readonly #clock: Clock
  readonly #logFrom: number
  /** Resolves when the process is gone. */
  readonly ended: Promise<Ended>
  #gone = false

  constructor(place: Place, port: number, clock: Clock) {
    this.url = `http://${demoHost}:${port}`
    this.#place = place
    this.#clock = clock
    const log = openSync(place.logPath, 'a', 0o600)
    this.#logFrom = fstatSync(log).size
    // A session of its own: Ctrl-C reaches us alone and we end it in good order.
    this.#child = spawn(process.execPath, serveArguments(place.folder, port), {
      stdio: ['pipe', log, log],
      detached: true,
      env: serveEnvironment(),
    })
    closeSync(log)
    // Its end is seen by `ended`; a broken pipe says nothing more.
    this.#child.stdin?.on('error', () => {})
    this.ended = new Promise((resolve) => {
      const end = (code: number | null, signal: NodeJS.Signals | null) => {
        this.#gone = true
        resolve({ code, signal })
      }
      this.#child.once('exit', end)
      this.#child.once('error', () => end(null, null))
    })
  }

  /** Resolves when the embedded database accepts connections. Throws Failure when the server ends first. */
  async databaseReady(signal: AbortSignal): Promise<void> {
    await this.#until(signal, () => databaseIsReady(this.#place.folder))
  }

  /** Resolves when the server can serve. */
  async ready(signal: AbortSignal): Promise<void> {
    const client = new NativeClient({ url: this.url })
    await this.#until(signal, async () => (await client.ready().catch(() => null))?.ok === true)
  }

  operatorKey(): { key: string; path: string } {
    const path = join(this.#place.folder, 'operator-key')
    return { key: readFileSync(path, 'utf8').trim(), path }
  }

  /** Why it ended, with its last lines. */
  failure(): Failure {
    const { exitCode, signalCode } = this.#child
    const how = signalCode ?? (exitCode === null ? 'before it started' : `with status ${exitCode}`)
    return new Failure(exitStatus.failed, 'server_ended', `The server ended ${how}.`)
  }

  /** The end of what this server wrote to its log. */
  lastLines(): string[] {
    const log = readIfThere(this.#place.logPath) ?? ''
    return readableLog(Buffer.from(log).subarray(this.#logFrom).toString(), linesShown)
  }

  /**
   * Ends it in good order, by the pipe alone: were this process killed meanwhile, a signal and the closed pipe would be
   * two requests, and a second request means hurry. False when it had to be killed.
   */
  async stop(): Promise<boolean> {
    this.#child.stdin?.destroy()
    const late = new AbortController()
    const inTime = await Promise.race([
      this.ended.then(() => true),
      this.#clock.sleep(stopDeadlineMs, late.signal).then(() => this.#gone),
    ])
    late.abort()
    if (!inTime) this.kill()
    await this.ended
    return (await this.#endLeftBehind()) && inTime
  }

  /** Ends it and everything below it at once. */
  kill(): void {
    const { pid } = this.#child
    if (this.#gone || pid === undefined || identify(pid) === null) return
    for (const identity of processTree(pid)) signalProcess(identity, 'SIGKILL')
  }

  /**
   * Nothing to do after a clean stop. A server that was killed leaves parts that are about to end, and engines to their
   * leases; here nobody will adopt them. The parts first: control may be starting an engine at this very moment, and
   * who looks before it is gone misses that one. True when there was nothing.
   */
  async #endLeftBehind(): Promise<boolean> {
    const alone = await this.#partsEnd()
    let found = 0
    for (let looks = 0; looks < leftLooksMaximum; looks += 1) {
      const engines = this.#marked()
      if (engines.length === 0) break
      found += engines.length
      await Promise.all(engines.map((identity) => endProcess(identity, leftGraceMs, 'SIGTERM', this.#clock)))
    }
    return alone && found === 0
  }

  /** True when they were gone already; those that do not go by themselves are killed. */
  async #partsEnd(): Promise<boolean> {
    if (!this.#signalGroup(0)) return true
    const deadline = this.#clock.monotonicMs() + leftGraceMs
    while (this.#signalGroup(0) && this.#clock.monotonicMs() < deadline) await this.#clock.sleep(everyMs)
    while (this.#signalGroup('SIGKILL') && this.#clock.monotonicMs() < deadline + leftGraceMs)
      await this.#clock.sleep(everyMs)
    return false
  }

  /** Keepers and database processes carry the instance's id, 16 random digits, in their command lines. */
  #marked(): ProcessIdentity[] {
    const id = this.#place.instanceId()
    if (id === null) return []
    const ours = listProcesses().filter(
      ({ command }) => command.includes(` paddock:${id}:`) || command.startsWith(`postgres: paddock-${id}`),
    )
    return ours.map(({ pid }) => identify(pid)).filter((identity) => identity !== null)
  }

  /** The server's parts are in its process group, which is not used for another one while one of them lives. */
  #signalGroup(signal: NodeJS.Signals | 0): boolean {
    const { pid } = this.#child
    try {
      return pid !== undefined && process.kill(-pid, signal)
    } catch {
      return false
    }
  }

  async #until(signal: AbortSignal, probe: () => boolean | Promise<boolean>): Promise<void> {
    const deadline = this.#clock.monotonicMs() + startDeadlineMs
    while (!(await probe())) {
      signal.throwIfAborted()
      if (this.#gone) throw this.failure()
      if (this.#clock.monotonicMs() > deadline)
        throw new Failure(exitStatus.timeout, 'timeout', 'The server did not become ready in two minutes.')
      await this.#clock.sleep(everyMs, signal)
    }
  }
}

function serveArguments(folder: string, port: number): string[] {
  const where = ['--host', demoHost, '--port', String(port), '--data', folder]
  return [modulePath('main'), 'serve', ...where, '--fleet', 'emulated', '--stop-with-parent']
}

/** Settings of the environment that are about the machine; all others are about another server than the demo's. */
const passedOn = [
  'PADDOCK_SYSTEM_FOLDER',
  'PADDOCK_ISOLATION_UID_BASE',
  'PADDOCK_LOG_LEVEL',
  'NODE_COMPILE_CACHE',
  'HOME',
  'XDG_RUNTIME_DIR',
]

function serveEnvironment(): Record<string, string> {
  const given = passedOn.flatMap((name) => {
    const value = environment()[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  return childEnv({
    // Where bin/paddock.mjs keeps compiled code as well; the second start is then faster.
    NODE_COMPILE_CACHE: join(packageRoot, 'node_modules', '.cache', 'paddock'),
    ...Object.fromEntries(given),
    PADDOCK_COMPUTE_LOCAL_LEASE_SECONDS: String(leaseSeconds),
  })
}

/** Postgres writes its state into the eighth line of its pid file. */
function databaseIsReady(folder: string): boolean {
  const elsewhere = readJsonIfThere<{ folder?: string }>(join(folder, 'postgres-location.json'))?.folder
  try {
    const file = readIfThere(join(elsewhere ?? join(folder, 'postgres'), 'postmaster.pid'))
    return file?.split('\n')[7]?.trim() === 'ready'
  } catch {
    return false
  }
}
