/** The checks that read the code without running it, each as one command of the pinned Node. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'

export interface Check {
  name: string
  argv: string[]
}

/** Types, then lint and format. `write`: Biome corrects what it safely can. */
export function checks(root: string, write = false): Check[] {
  const modules = join(root, 'node_modules')
  const biome = [join(modules, '@biomejs', 'biome', 'bin', 'biome'), 'check', '--error-on-warnings']
  return [
    { name: 'types (tsc)', argv: [join(modules, 'typescript', 'bin', 'tsc'), '-p', root] },
    { name: 'lint and format (biome)', argv: [...biome, ...(write ? ['--write'] : []), root] },
  ]
}

export interface CheckResult {
  name: string
  ok: boolean
  output: string
  seconds: number
}

export function runCheck(root: string, check: Check, signal?: AbortSignal): Promise<CheckResult> {
  const began = performance.now()
  return new Promise((resolve) => {
    const child = spawn(process.execPath, check.argv, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], signal })
    let output = ''
    const keep = (chunk: Buffer) => {
      output += chunk.toString()
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.on('error', (error) => keep(Buffer.from(error.message)))
    child.on('close', (code) =>
      resolve({ name: check.name, ok: code === 0, output, seconds: (performance.now() - began) / 1000 }),
    )
  })
}
