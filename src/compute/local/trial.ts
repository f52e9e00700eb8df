/**
 * Runs a program of ours over a file that nobody has vouched for: as an engine would run, with an account of its own
 * under root, no network of ours to talk to, and an end. What it says is one line.
 */
import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { engineAccount, engineUidCount } from '../../runtime/isolation.ts'
import { childEnv } from '../../runtime/processes.ts'
import { modulePath } from '../../runtime/self.ts'
import { placeEngineFiles } from './engine-files.ts'
import { guarded } from './guard.ts'
import { Host } from './host.ts'
import type { LocalOptions } from './options.ts'

const saidBytesMaximum = 16 * 1024

export interface Ended {
  said: string
  /** What ended it when it did not end by itself with status 0; null = it did. */
  by: string | null
}

export class Trials {
  readonly #host: Host
  constructor(options: LocalOptions) {
    this.#host = new Host(options)
  }

  /** `module` is asked about the file at `path`. Throws when it cannot be started. */
  async run(module: string, path: string, options: { withinMs: number; signal: AbortSignal }): Promise<Ended> {
    const { node, packageRoot, runtimePackages } = this.#host.options
    // The last one: slots are given out from the first on.
    const account = engineAccount(engineUidCount - 1, this.#host.uidBase)
    const claim = (copy: string) => this.#host.claims.take([`code-${copy}-trial`], 1, this.#host.options.folder)
    const files = placeEngineFiles(
      { node, packageRoot },
      runtimePackages?.() ?? [],
      account,
      this.#host.codeFolder,
      claim,
    )
    // Whoever may not enter the folder may still read what it was handed open.
    const handed = account !== null && process.platform === 'linux'
    const argv = [files.node, modulePath(module, files.packageRoot), handed ? '/proc/self/fd/0' : path]
    const setpriv = await this.#host.setpriv()
    const [program = '', ...args] = guarded(argv, { setpriv, ownUid: account !== null })
    const file = openSync(path, 'r')
    const child = spawn(program, args, {
      cwd: '/',
      env: childEnv({}),
      stdio: [handed ? file : 'ignore', 'pipe', 'ignore'],
      ...(account ?? {}),
    })
    closeSync(file)
    return ended(child, this.#host.clock, options)
  }
}

async function ended(
  child: ReturnType<typeof spawn>,
  clock: Host['clock'],
  { withinMs, signal }: { withinMs: number; signal: AbortSignal },
): Promise<Ended> {
  let said = ''
  let isLate = false
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    if (said.length < saidBytesMaximum) said += text
  })
  const over = new AbortController()
  const kill = () => child.kill('SIGKILL')
  signal.addEventListener('abort', kill, { once: true })
  void clock.sleep(withinMs, over.signal).then(() => {
    isLate = !over.signal.aborted
    if (isLate) kill()
  })
  try {
    return await new Promise<Ended>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, by) => {
        const late = `it took longer than ${withinMs / 1000} s`
        resolve({ said, by: isLate ? late : by !== null ? by : code === 0 ? null : `status ${code}` })
      })
    })
  } finally {
    over.abort()
    signal.removeEventListener('abort', kill)
  }
}
