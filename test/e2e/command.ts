/** Runs the `paddock` command as a person does: in a process of its own, with a home and an environment of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { modulePath } from '../../src/runtime/self.ts'
import { compiledFolder, type Place } from './place.ts'

export interface Spoken {
  status: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface CommandOptions {
  /** Standard input; without it there is none. */
  input?: string
  env?: Record<string, string>
  cwd?: string
  account?: { uid: number; gid: number }
}

/** A command under way. */
export class Command {
  readonly child: ChildProcess
  readonly ended: Promise<Spoken>
  stdout = ''
  stderr = ''
  /** How often something arrived on stdout. */
  pieces = 0

  constructor(place: Place, args: string[], options: CommandOptions = {}) {
    this.child = spawn(process.execPath, [modulePath('main'), ...args], {
      cwd: options.cwd ?? place.root,
      env: environmentOf(place, options.env),
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      ...options.account,
    })
    this.child.stdin?.end(options.input)
    this.child.stdout!.setEncoding('utf8').on('data', (piece: string) => {
      this.stdout += piece
      this.pieces += 1
    })
    this.child.stderr!.setEncoding('utf8').on('data', (piece: string) => {
      this.stderr += piece
    })
    this.ended = new Promise((resolve) => {
      this.child.once('close', (status, signal) => {
        resolve({ status, signal, stdout: this.stdout, stderr: this.stderr })
      })
    })
  }

  /** Resolves once stdout or stderr matches; rejects when the command ends before. */
  async says(pattern: RegExp): Promise<void> {
    const heard = new Promise<void>((resolve) => {
      const look = () => {
        if (pattern.test(this.stdout) || pattern.test(this.stderr)) resolve()
      }
      this.child.stdout!.on('data', look)
      this.child.stderr!.on('data', look)
      look()
    })
    const silent = this.ended.then((spoken) => {
      if (!pattern.test(spoken.stdout) && !pattern.test(spoken.stderr))
        throw new Error(`ended before it said ${pattern}: ${JSON.stringify(spoken)}`)
    })
    await Promise.race([heard, silent])
  }
}

export function paddock(place: Place, args: string[], options: CommandOptions = {}): Promise<Spoken> {
  return new Command(place, args, options).ended
}

function environmentOf(place: Place, extra: Record<string, string> = {}): Record<string, string> {
  return {
    PATH: process.env.PATH ?? '',
    HOME: place.root,
    NODE_COMPILE_CACHE: compiledFolder,
    TMPDIR: join(place.root, 'tmp'),
    PADDOCK_DATA: place.dataFolder,
    PADDOCK_SYSTEM_FOLDER: place.systemFolder,
    PADDOCK_ISOLATION_UID_BASE: String(place.uidBase),
    ...extra,
  }
}
