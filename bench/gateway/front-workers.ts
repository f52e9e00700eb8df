/** The gateway as several workers, as the real one has them: threads of one process on one port (front.ts). */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { makeCounterBoard } from '../../src/gateway/counter-board.ts'
import { makeRecentMemory } from '../../src/gateway/routing/recent.ts'
import { rememberedDefault } from '../../src/gateway/routing/router.ts'
import type { FrontSetup, WorkerFrontSetup } from './front.ts'

const { workers, ...setup } = JSON.parse(process.argv[2]!) as FrontSetup & { workers: number }
const counters = makeCounterBoard({ lanes: workers })
const routing = makeRecentMemory(rememberedDefault)
let port = 0
for (let worker = 0; worker < workers; worker++) {
  const workerData: WorkerFrontSetup = { ...setup, port, worker, counters, routing }
  const thread = new Worker(new URL('./front.ts', import.meta.url), { workerData })
  const [started] = (await once(thread, 'message')) as [{ port: number }]
  port = started.port
}
process.on('disconnect', () => process.exit(0))
process.send!({ port })
