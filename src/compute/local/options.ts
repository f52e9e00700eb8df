import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import type { FleetType } from './capacity.ts'
import type { Gpu } from './gpus.ts'

export interface LocalOptions {
  /** Where the run folders are, inside the data folder. Made when missing, 0700. */
  folder: string
  /** Under root: where other uids find what they must read. Default: the runtime's. */
  systemFolder?: string
  /** `[a-z0-9-]+`; sets this Paddock's processes and files apart from another's on the same machine. */
  instanceId: string
  fleet: 'local' | 'emulated'
  cpuSlots?: number
  leaseSeconds?: number
  /** Under root: first uid of the range, see runtime/isolation.ts. Nothing else may run as these. */
  uidBase?: number
  /** Hardware catalogue: bundles of real GPUs, and what the emulated fleet consists of. */
  gpuTypes?: readonly FleetType[]
  clock?: Clock
  packageRoot: string
  /** The pinned Node binary. */
  node: string
  /** Folders at or above `packageRoot` that engines import beside our own, e.g. `node_modules/@node-llama-cpp/linux-x64`. */
  runtimePackages?(): string[]
  log?: Log
  /** Threads that one engine is told to use. Default: half of the cores, at least one. */
  threadsPerReplica?: number
  /** How long a copy of weights stays after its last replica. */
  unusedWeightsSeconds?: number
  /** How long a run folder without an order may stand, when nobody here is making it. */
  halfMadeSeconds?: number
  /** Default: the vendors' tools. */
  probeGpus?(warn: (message: string) => void): Promise<Gpu[]>
}
