/** What travels to the gateway: its setup, and what several workers of it must know before they have one. */
import { modulePath } from './runtime/self.ts'
import type { Config } from './runtime/settings.ts'
import type { Connection } from './store/connection.ts'

/** Connections to the database of one worker: for the feed, the shipper, the metrics, and one to spare. */
export const workerPoolSize = 4
/** With the one that listens. */
export const workerConnections = workerPoolSize + 1

/** Of one worker; as the supervisor sends it, that of the first. */
export interface GatewaySetup {
  config: Config
  connection: Connection
  /** In the register of gateways. */
  id: string
  port: number
  controlSocketPath: string
  snapshotPath: string
  journalFolder: string
  /** How many share the port. */
  workers: number
  /** Which of them this is, from 0. */
  worker: number
  /** Undefined when there is one. */
  shared?: SharedMemory
}

/** What the workers of a host know together. */
export interface SharedMemory {
  counters: SharedArrayBuffer
  /** What was sent where. */
  routing: SharedArrayBuffer
}

/**
 * How the collector works in a gateway. Bodies are memory beside the heap; usually some of it is enough for the collector to
 * look through all of a heap of 20 MB again and again, for 10 ms each time. Here both count against one limit, which begins
 * at 128 MB; young memory is small, so that looking through it stops nobody.
 */
export const gatewayFlags: readonly string[] = [
  '--max-semi-space-size=4',
  '--initial-old-space-size=128',
  '--external-memory-accounted-in-global-limit',
]

/** For the process of several workers: their threads start before its setup is there. */
export interface WorkersPlan {
  workers: number
  heapMegabytes: number
  logLevel: Config['log.level']
}

/** One worker is the gateway's process itself; several are threads of it. */
export function gatewayProgram(
  config: Config,
  workers: number,
): { module: string; args: string[]; flags: readonly string[] } {
  if (workers === 1) return { module: modulePath('server-gateway'), args: [], flags: gatewayFlags }
  const plan: WorkersPlan = {
    workers,
    heapMegabytes: config['gateway.worker_heap_megabytes'],
    logLevel: config['log.level'],
  }
  return { module: modulePath('server-workers'), args: [JSON.stringify(plan)], flags: gatewayFlags }
}

/** Every worker is a gateway of its own to the rest of the server. */
export function workerSetup(all: GatewaySetup, worker: number, shared: SharedMemory): GatewaySetup {
  return { ...all, id: worker === 0 ? all.id : `${all.id}_${worker}`, worker, shared }
}
