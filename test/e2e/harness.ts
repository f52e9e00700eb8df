/**
 * The real program for tests: `paddock serve` in processes of its own, on a free port and a folder of its own, with
 * clients that act on it as anybody would.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import OpenAI from 'openai'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { packageRoot } from '../../src/runtime/self.ts'
import { NativeClient } from '../../src/wire/native/client.ts'
import type { CreateDeployment, Deployment } from '../../src/wire/native/deployment.ts'
import type { Place } from './place.ts'

/** The command as people start it. */
export const paddock = [process.execPath, join(packageRoot, 'bin', 'paddock.mjs')]
/** Generous: what it should take is measured by a bench. */
const startWithinMs = 60_000
/** What `serve` may take for a clean stop, where that is what a test is about. */
export const stopWithinMs = 10_000
/** Elsewhere, and while it is still making its database: a machine may be slow. */
const endWithinMs = 60_000
const outputKeptChars = 40_000
const lastWordsMs = 300

export interface StartOptions {
  /** 0: a free one. */
  port?: number
  env?: Record<string, string>
  args?: string[]
  /** Run as this user instead of ours. */
  account?: { uid: number; gid: number }
  /** What to run instead of our own command. */
  program?: string[]
  /** In a process group of its own, as in a terminal. It then stops when this test ends. */
  ownGroup?: boolean
}

export interface Ended {
  status: number | null
  signal: NodeJS.Signals | null
}

/** A `serve` that was started and may refuse. */
export class Run {
  readonly place: Place
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  isOver = false
  output = ''

  constructor(place: Place, options: StartOptions) {
    this.place = place
    const program = options.program ?? paddock
    const args = ['serve', '--port', String(options.port ?? 0), ...(options.args ?? [])]
    if (options.ownGroup) args.push('--stop-with-parent')
    this.child = spawn(program[0]!, [...program.slice(1), ...args], {
      cwd: place.root,
      env: environmentFor(place, options.env),
      detached: options.ownGroup === true,
      stdio: [options.ownGroup ? 'pipe' : 'ignore', 'pipe', 'pipe'],
      ...options.account,
    })
    this.child.stdin?.on('error', () => {})
    const keep = (chunk: Buffer) => {
      this.output = (this.output + chunk.toString()).slice(-outputKeptChars)
    }
    this.child.stdout!.on('data', keep)
    this.child.stderr!.on('data', keep)
    this.ended = new Promise((resolve) => {
      this.child.once('exit', async (status, signal) => {
        // Its last words may still be on their way; who else holds the pipe is not waited for.
        const closed = new AbortController()
        this.child.once('close', () => closed.abort())
        await systemClock.sleep(lastWordsMs, closed.signal)
        this.isOver = true
        resolve({ status, signal })
      })
    })
  }

  /** The end within `ms`, output complete; fails with what it said. */
  async end(ms = endWithinMs): Promise<Ended> {
    const late = new AbortController()
    const limit = systemClock.sleep(ms, late.signal).then(() => {
      if (!late.signal.aborted) throw new Error(`still running after ${ms} ms:\n${this.output}`)
      return null
    })
    const ended = (await Promise.race([this.ended, limit]))!
    late.abort()
    return ended
  }
}

function environmentFor(place: Place, extra: Record<string, string> = {}): Record<string, string> {
  return {
    PATH: process.env.PATH ?? '',
    HOME: place.root,
    TMPDIR: join(place.root, 'tmp'),
    PADDOCK_DATA: place.dataFolder,
    PADDOCK_SYSTEM_FOLDER: place.systemFolder,
    PADDOCK_ISOLATION_UID_BASE: String(place.uidBase),
    PADDOCK_COMPUTE_LOCAL_LEASE_SECONDS: '60',
    PADDOCK_COMPUTE_LOCAL_STOP_GRACE_SECONDS: '2',
    PADDOCK_START_BACKOFF_SECONDS: '0.1',
    ...extra,
  }
}

/** A `serve` that answers. */
export class Server {
  readonly run: Run
  readonly url: string
  readonly port: number
  readonly operatorKey: string
  /** As the operator. */
  readonly native: NativeClient

  constructor(run: Run, url: string) {
    this.run = run
    this.url = url
    this.port = Number(new URL(url).port)
    this.operatorKey = readFileSync(join(run.place.dataFolder, 'operator-key'), 'utf8').trim()
    this.native = this.as(this.operatorKey)
  }

  get place(): Place {
    return this.run.place
  }

  get pid(): number {
    return this.run.child.pid!
  }

  as(key: string, org?: string): NativeClient {
    return new NativeClient({ url: this.url, key, org })
  }

  /** The unmodified SDK; it neither retries nor waits long, so that what a test sees is one answer of ours. */
  openai(key = this.operatorKey, path = '/v1'): OpenAI {
    return new OpenAI({ apiKey: key, baseURL: this.url + path, maxRetries: 0, timeout: 60_000 })
  }

  /** Asks it to stop; fails when that takes very long, or ends badly. Gives the milliseconds. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number> {
    const began = performance.now()
    this.run.child.kill(signal)
    const ended = await this.run.end()
    assert.deepEqual(ended, { status: 0, signal: null }, this.run.output)
    assert.ok(await isClosed(this.port), `port ${this.port} is closed`)
    return performance.now() - began
  }

  /** The deployment once `check` holds, which is looked at many times a second. */
  async when(idOrName: string, what: string, check: (seen: Deployment) => boolean, ms = 60_000): Promise<Deployment> {
    let last: Deployment | null = null
    const look = async () => {
      last = await this.native.getDeployment(idOrName).catch(() => null)
      return last !== null && check(last) ? last : null
    }
    return until(systemClock, `${idOrName} ${what}`, ms, look, 50).catch((error: Error) => {
      throw new Error(`${error.message}; it is ${JSON.stringify(last)}\n${this.run.output.slice(-4_000)}`)
    })
  }

  active(idOrName: string, ms?: number): Promise<Deployment> {
    return this.when(idOrName, 'is active', ({ status }) => status === 'active', ms)
  }

  gone(id: string, ms?: number): Promise<Deployment> {
    return this.when(id, 'is deleted', ({ phase }) => phase === 'deleted', ms)
  }

  /** Creates one on the CPU with the starter model. */
  deploy(name: string, more: Partial<CreateDeployment> = {}): Promise<Deployment> {
    return this.native.createDeployment({ name, model_id: 'paddock/starter', gpu_type: 'cpu', ...more })
  }
}

/** Starts and waits until it is ready; throws with its output when it ends before. */
export async function startServer(place: Place, options: StartOptions = {}): Promise<Server> {
  const run = new Run(place, options)
  const ready = until(systemClock, 'ready', startWithinMs, async () => {
    if (run.isOver) throw new Error('it ended')
    const url = /Paddock serves at (http\S+)/.exec(run.output)?.[1]
    return url !== undefined && (await isReady(url)) ? url : null
  })
  const url = await ready.catch((error: Error) => {
    run.child.kill('SIGKILL')
    throw new Error(`serve: ${error.message}\n${run.output}`)
  })
  return new Server(run, url)
}

export async function isReady(url: string): Promise<boolean> {
  const answer = await fetch(`${url}/readyz`).catch(() => null)
  await answer?.body?.cancel()
  return answer?.status === 200
}

/** Nobody listens on this port any more. */
export function isClosed(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('connect', () => {
      socket.destroy()
      resolve(false)
    })
    socket.once('error', () => resolve(true))
  })
}
