/**
 * What Paddock adds between a create and the first token: the whole way over the API, less what the same engine with
 * the same model needs by itself, started directly on the same machine in turn.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { LaunchHost } from '../src/engines/contract.ts'
import { availableEngines } from '../src/engines/registry.ts'
import { loadCatalogue } from '../src/models/catalogue.ts'
import { systemClock, until } from '../src/runtime/clock.ts'
import { childEnv } from '../src/runtime/processes.ts'
import { packageRoot } from '../src/runtime/self.ts'
import { type Server, startServer } from '../test/e2e/harness.ts'
import { Place } from '../test/e2e/place.ts'
import { median } from './median.ts'
import type { Bench } from './report.ts'

const rounds = 5
const targetSeconds = 0.5
const lookEveryMs = 5
const modelId = 'paddock/starter'
const question = { messages: [{ role: 'user', content: 'Hello' }], max_tokens: 8, stream: true }

export const bench: Bench = {
  name: 'create',
  about: 'create to first token, less the engine’s own load and first token (median of 5)',
  run: async (report) => {
    const place = new Place()
    try {
      const server = await startServer(place)
      const [whole, own]: [number[], number[]] = [[], []]
      for (let round = 0; round < rounds; round++) {
        own.push(await engineAlone())
        whole.push(await throughPaddock(server, `bench-${round}`))
      }
      await server.stop()
      report({ name: 'create to first token', value: median(whole), unit: 's' })
      report({ name: 'engine alone: start to first token', value: median(own), unit: 's' })
      const added = whole.map((seconds, round) => seconds - own[round]!)
      report({ name: 'added by Paddock', value: median(added), unit: 's', target: targetSeconds })
    } finally {
      await place.remove()
    }
  },
}

async function throughPaddock(server: Server, name: string): Promise<number> {
  const began = performance.now()
  const { id } = await server.deploy(name)
  const answer = await server.native.chatCompletions(id, question)
  const seconds = await firstContent(answer, began)
  await server.native.deleteDeployment(id)
  await server.gone(id)
  return seconds
}

async function engineAlone(): Promise<number> {
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
    await until(
      systemClock,
      'the engine is ready',
      60_000,
      () => isReady(url + driver.healthPath, headers),
      lookEveryMs,
    )
    const body = JSON.stringify({ model: modelId, ...question })
    const answer = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body })
    return await firstContent(answer, began)
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
async function firstContent(answer: Response, began: number): Promise<number> {
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
