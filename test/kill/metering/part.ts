/** A part of the server as its supervisor runs it, but killed and started again without a pause. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { systemClock, until } from '../../../src/runtime/clock.ts'
import type { ToParent } from '../../../src/server-launch.ts'

export const startWithinMs = 60_000
const lastWordsChars = 4_000

export interface Program {
  module: string
  args: string[]
  /** Of node. */
  flags?: readonly string[]
}

export class KilledPart {
  readonly #program: Program
  readonly setup: () => object
  readonly #environment: NodeJS.ProcessEnv
  readonly #preload: string | null
  #child: ChildProcess | null = null
  isReady = false
  /** Of its last start. */
  port: number | null = null
  pid = 0
  /** Requests of clients, since it was started. */
  answered = 0
  words = ''

  constructor(options: {
    program: Program
    setup: () => object
    cacheFolder: string
    /** Module that is loaded before it: a planted bug. */
    preload: string | null
  }) {
    this.#program = options.program
    this.setup = options.setup
    this.#environment = { ...process.env, NODE_COMPILE_CACHE: options.cacheFolder }
    this.#preload = options.preload
  }

  start(): void {
    const child = fork(this.#program.module, this.#program.args, {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      execArgv: [...(this.#program.flags ?? []), ...(this.#preload === null ? [] : ['--import', this.#preload])],
      env: this.#environment,
    })
    this.#child = child
    this.pid = child.pid!
    this.answered = 0
    const keep = (chunk: Buffer) => {
      this.words = (this.words + chunk.toString()).slice(-lastWordsChars)
    }
    child.stdout!.on('data', keep)
    child.stderr!.on('data', keep)
    child.on('message', (message: ToParent) => {
      if (message.kind === 'fatal') this.words += message.message
      else if (message.kind === 'ready' && this.#child === child) {
        this.port = message.port ?? this.port
        this.isReady = true
      }
    })
    child.on('error', () => {})
    child.send({ kind: 'start', setup: this.setup() }, () => {})
  }

  async ready(): Promise<void> {
    await until(systemClock, `${this.#program.module} is ready`, startWithinMs, () => {
      if (this.#child?.exitCode !== null) throw new Error(`${this.#program.module} ended: ${this.words}`)
      return this.isReady
    })
  }

  /** It is ready and has answered as many requests since it was started. */
  async answers(count: number): Promise<void> {
    await this.ready()
    await until(systemClock, `${this.#program.module} answers`, startWithinMs, () => this.answered >= count)
  }

  /** Gone when it resolves. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child
    this.isReady = false
    this.#child = null
    if (child === null || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
  }
}
