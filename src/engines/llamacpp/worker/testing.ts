/** The real worker on the starter model, for tests: started as its keeper would, or in the test's own process. */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { systemClock, until } from '../../../runtime/clock.ts'
import { modulePath, packageRoot } from '../../../runtime/self.ts'
import { readArguments } from './arguments.ts'
import { loadEngine } from './load.ts'
import { WorkerServer } from './server.ts'

export const starterPath = join(packageRoot, 'models/starter/paddock-starter.gguf')
export const workerKey = 'the key of the test'

export interface TestEngine {
  url: string
  /** What it logged. */
  lines: string[]
  /** POST with the key; `over` replaces fetch's options. */
  post(path: string, body: unknown, over?: RequestInit): Promise<Response>
  metric(name: string): Promise<number>
  stop(): Promise<void>
}

export interface TestWorker extends TestEngine {
  child: ChildProcess
  exit: Promise<{ code: number | null; signal: string | null }>
}

/** In the test's own process, which is several times cheaper: where the process itself is not what is tested. */
export async function startHere(flags: string[] = []): Promise<TestEngine> {
  const options = readArguments(['--model', starterPath, '--port', '0', '--served-name', 'starter', ...flags])
  const lines: string[] = []
  const log = (line: string) => lines.push(line)
  const server = new WorkerServer({ servedName: options.servedName, key: workerKey, log })
  server.engine = await loadEngine(options, { phase: () => {}, broken: (why) => lines.push(`broken: ${why}`) })
  server.state = { status: 'ok' }
  const url = `http://127.0.0.1:${await server.listen('127.0.0.1', 0)}`
  const stop = () => Promise.resolve(server.close())
  return { ...client(url), lines, stop }
}

export async function startWorker(
  flags: string[] = [],
  { ready = true, root = packageRoot } = {},
): Promise<TestWorker> {
  const program = modulePath('engines/llamacpp/worker/main', root)
  const argv = [
    program,
    '--model',
    starterPath,
    '--port',
    '0',
    '--served-name',
    'starter',
    '--threads',
    '1',
    '--die-with-stdin',
    ...flags,
  ]
  const child = spawn(process.execPath, argv, {
    stdio: 'pipe',
    env: { PATH: process.env.PATH, PADDOCK_ENGINE_KEY: workerKey },
  })
  const lines: string[] = []
  for (const stream of [child.stdout!, child.stderr!])
    stream.setEncoding('utf8').on('data', (text: string) => lines.push(...text.trimEnd().split('\n')))
  const exit = new Promise<{ code: number | null; signal: string | null }>((done) =>
    child.once('exit', (code, signal) => done({ code, signal })),
  )
  const stop = async () => {
    child.kill('SIGKILL')
    await exit
  }
  if (!ready) return { child, exit, ...client(''), lines, stop }
  const port = await until(
    systemClock,
    'listening',
    20_000,
    () => /listening on [^ ]+:(\d+)/.exec(lines.join('\n'))?.[1],
  )
  const url = `http://127.0.0.1:${port}`
  await until(systemClock, 'ready', 20_000, async () => (await fetch(`${url}/health`)).ok)
  return { child, exit, ...client(url), lines, stop }
}

function client(url: string): Pick<TestEngine, 'url' | 'post' | 'metric'> {
  const headers = { authorization: `Bearer ${workerKey}`, 'content-type': 'application/json' }
  const post = (path: string, body: unknown, over: RequestInit = {}) =>
    fetch(url + path, {
      method: 'POST',
      headers,
      body: typeof body === 'string' ? body : JSON.stringify(body),
      ...over,
    })
  const metric = async (name: string) => {
    const text = await (await fetch(`${url}/metrics`, { headers })).text()
    return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN)
  }
  return { url, post, metric }
}

/** The JSON of a stream's events, and whether it ended with [DONE]. */
export async function readStream(response: Response): Promise<{ events: StreamEvent[]; done: boolean }> {
  const data = (await response.text())
    .split('\n\n')
    .filter(Boolean)
    .map((event) => event.replace(/^data: /, ''))
  const done = data.at(-1) === '[DONE]'
  return { events: data.filter((text) => text !== '[DONE]').map((text) => JSON.parse(text) as StreamEvent), done }
}

export interface StreamEvent {
  choices: { delta: { role?: string; content?: string }; text?: string; finish_reason: string | null }[]
  usage?: { prompt_tokens: number; completion_tokens: number; total_tokens: number } | null
}
