/**
 * The embedded engine: one process, one model. Listens at once and says how far it is; ends with status 1 and one line
 * when it cannot load. SIGTERM: finish what runs, then end; again: end now.
 */
import { basename } from 'node:path'
import { systemClock } from '../../../runtime/clock.ts'
import { takeFromEnvironment } from '../../../runtime/environment.ts'
import { readArguments, type WorkerOptions } from './arguments.ts'
import { loadEngine } from './load.ts'
import { WorkerServer } from './server.ts'

/** Longest wait for running requests after SIGTERM, in seconds. Who waits less kills. */
const drainSecondsMaximum = 600

const log = (line: string) => process.stdout.write(`${line.trimEnd()}\n`)

function fail(message: string): never {
  log(`error: ${message}`)
  process.exit(1)
}

async function main(): Promise<void> {
  const options = optionsOrFail()
  const key = takeFromEnvironment('PADDOCK_ENGINE_KEY')
  if (key === undefined) fail('PADDOCK_ENGINE_KEY is missing')
  if (options.dieWithStdin)
    process.stdin
      .on('end', () => process.exit(0))
      .on('error', () => process.exit(0))
      .resume()
  const ageMs = systemClock.monotonicMs()
  const server = new WorkerServer({ servedName: options.servedName, key, log, ageMs })
  const port = await server.listen(options.host, options.port).catch((error: Error) => fail(error.message))
  log(`listening on ${options.host}:${port}`)
  listenForSignals(server)
  const engine = await loadEngine(options, {
    phase: (phase, progress) => {
      if (server.state.status === 'loading') server.state = { status: 'loading', phase, progress }
    },
    broken: (reason) => fail(`the device keeps failing: ${reason}`),
  }).catch((error: Error) => fail(`cannot load ${basename(options.model)}: ${error.message}`))
  server.engine = engine
  if (server.state.status === 'loading') server.state = { status: 'ok' }
  log(`ready: ${options.servedName}, ${engine.sequences.count} sequences of ${engine.contextTokens} tokens`)
}

function optionsOrFail(): WorkerOptions {
  try {
    return readArguments(process.argv.slice(2))
  } catch (error) {
    fail((error as Error).message)
  }
}

function listenForSignals(server: WorkerServer): void {
  let asked = false
  process.on('SIGTERM', () => {
    if (asked) process.exit(143)
    asked = true
    log('draining')
    const bound = systemClock.sleep(drainSecondsMaximum * 1000)
    void Promise.race([server.drain(), bound]).then(() => process.exit(0))
  })
}

await main()
