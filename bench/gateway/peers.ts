/** Other gateways, as they come from their registries, in front of the same engine. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock, until } from '../../src/runtime/clock.ts'
import type { Front } from './cost.ts'
import { answers, freePort } from './nginx.ts'

const portkey = '@portkey-ai/gateway@1.15.2'
const installMs = 120_000

/** Portkey's open-source gateway on this very Node; a text says why it cannot be had here. */
export async function startPortkey(enginePort: number, ends: (() => Promise<void>)[]): Promise<Front | string> {
  const folder = mkdtempSync(join(tmpdir(), 'paddock-bench-'))
  ends.push(async () => rmSync(folder, { recursive: true, force: true }))
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--silent']
  const installed = spawnSync('npm', ['install', '--prefix', folder, ...options, portkey], { timeout: installMs })
  if (installed.status !== 0) return `${portkey} does not install here`
  const port = await freePort()
  const program = join(folder, 'node_modules/@portkey-ai/gateway/build/start-server.js')
  const child = spawn(process.execPath, [program, `--port=${port}`, '--headless'], { stdio: 'ignore' })
  const gone = once(child, 'exit')
  ends.push(async () => {
    child.kill('SIGKILL')
    await gone
  })
  await until(systemClock, 'Portkey listens', 20_000, () => answers(port))
  const host = `x-portkey-custom-host: http://127.0.0.1:${enginePort}/v1`
  return { pid: child.pid!, port, headers: ['x-portkey-provider: openai', host] }
}
