/**
 * The gateway's process when there are several workers: each is a whole gateway in a thread (server-gateway.ts), all on
 * one port, and this thread does nothing but start, watch and replace them. What one breaks ends with it: its lane of
 * the counters is struck out, its journal is shipped by the others.
 */
import { makeCounterBoard } from './gateway/counter-board.ts'
import { clearLane } from './gateway/counters.ts'
import { makeRecentMemory } from './gateway/routing/recent.ts'
import { rememberedDefault } from './gateway/routing/router.ts'
import { systemClock as clock } from './runtime/clock.ts'
import { makeLog } from './runtime/log.ts'
import { modulePath } from './runtime/self.ts'
import { Part, runPart } from './server-child.ts'
import { type GatewaySetup, type SharedMemory, type WorkersPlan, workerSetup } from './server-gateway-setup.ts'
import { inThread } from './server-launch.ts'

/** Longest that a worker takes to stop; less than what this process is given. */
const stopWithinMs = 3_900

const plan = JSON.parse(process.argv[2]!) as WorkersPlan
const log = makeLog(plan.logLevel, 'gateway')
const shared: SharedMemory = {
  counters: makeCounterBoard({ lanes: plan.workers }),
  routing: makeRecentMemory(rememberedDefault),
}
const given = Promise.withResolvers<GatewaySetup>()

const workers = Array.from(
  { length: plan.workers },
  (_, worker) =>
    new Part<GatewaySetup>({
      name: `gateway worker ${worker}`,
      launch: inThread({ module: modulePath('server-gateway'), heapMegabytes: plan.heapMegabytes }),
      setup: async () => workerSetup(await given.promise, worker, shared),
      clock,
      log,
      onEnd: () => clearLane(shared.counters, worker),
    }),
)
// They load their modules while the setup is still being made.
const started = Promise.all(workers.map((worker) => worker.start()))
started.catch(() => {})

runPart<GatewaySetup>(async (setup, tell) => {
  given.resolve(setup)
  await started
  tell({ kind: 'ready', port: setup.port })
  return {
    stop: async () => {
      await Promise.all(workers.map((worker) => worker.stop(stopWithinMs)))
    },
  }
})
