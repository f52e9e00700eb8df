/** The embedded engine with the starter model by itself: what of a start and of a first token is not Paddock's. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { LaunchHost } from '../src/engines/contract.ts'
import { availableEngines } from '../src/engines/registry.ts'
import { loadCatalogue } from '../src/models/catalogue.ts'
import { systemClock, until } from '../src/runtime/clock.ts'
import { childEnv } from '../src/runtime/processes.ts'
import { packageRoot } from '../src/runtime/self.ts'

const lookEveryMs = 5
const modelId = 'paddock/starter'
export const question = { messages: [{ role: 'user', content: 'Hello' }], max_tokens: 8, stream: true }

export interface Alone {
  /** From the start of its process until it says that it is ready, s. */
  start: number
  /** From the first request after that to the first piece of text, s. */
  firstToken: number
}

/** Starts one on this machine, asks it once and ends it. */
export async function engineAlone(): Promise<Alone> {
  const driver = availableEngines().get('llamacpp')!
  const { files } = loadCatalogue({ allowPaths: [], starterStandsIn: false }).resolve(modelId)
  const apiKey = 'bench'
  const host = await hostFor(files.path)
  const spec = { type: 'llamacpp' as const, additionalArgs: [] }
  const launch = driver.launch({ spec, model: files, host, servedName: modelId, apiKey })
  const began = performance.now()
  const engine = spawn(launch.argv[0]!, launch.argv.slice(1), {
    env: childEnv(launch.env),
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  try {
    const url = `http://${host.address}:${host.port}`
    const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' }
    const look = () => isReady(url + driver.healthPath, headers)
    await until(systemClock, 'the engine is ready', 60_000, look, lookEveryMs)
    const asked = performance.now()
    const body = JSON.stringify({ model: modelId, ...question })
    const answer = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body })
    return { start: (asked - began) / 1000, firstToken: await firstContent(answer, asked) }
  } finally {
    await end(engine)
  }

  async function isReady(url: string, headers: Record<string, string>): Promise<boolean> {
    const answer = await fetch(url, { headers }).catch(() => null)
    const body = (await answer?.text()) ?? ''
    return driver.readiness(answer?.status ?? null, body).state === 'ready'
  }
}

async function hostFor(modelPath: string): Promise<LaunchHost> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as { port: number }
  probe.close()
  return { address: '127.0.0.1', port, threads: 1, gpuIds: [], modelPath, node: process.execPath, packageRoot }
}

/** Seconds from `began` to the first piece of text in a stream; the rest is read and dropped. */
export async function firstContent(answer: Response, began: number): Promise<number> {
  let seconds: number | null = null
  let text = ''
  for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk
    if (seconds === null && /"content":"[^"]/.test(text)) seconds = (performance.now() - began) / 1000
  }
  if (seconds === null) throw new Error(`There was no text in the answer: ${text.slice(0, 500)}`)
  return seconds
}

async function end(engine: ChildProcess): Promise<void> {
  const over = once(engine, 'exit')
  engine.stdin!.destroy()
  engine.kill('SIGKILL')
  await over
}
