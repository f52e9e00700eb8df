/** This machine as the driver sees it: where things are, what hardware there is, what is taken. */
import { execFile } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { ReplicaId } from '../../kernel/ids.ts'
import { type Clock, systemClock } from '../../runtime/clock.ts'
import { defaultUidBase, runsAsRoot, systemFolder } from '../../runtime/isolation.ts'
import { childEnv, findProgram } from '../../runtime/processes.ts'
import { type FleetType, type Machine, offersOf } from './capacity.ts'
import { Claims } from './claims.ts'
import { type Gpu, probeGpus } from './gpus.ts'
import { setprivOptions } from './guard.ts'
import type { LocalOptions } from './options.ts'
import { RunFolder, replicasIn } from './run-folder.ts'

/** GPUs come and go only with drivers and reboots; asking is slow. */
const gpusFreshMs = 60_000

export class Host {
  readonly options: LocalOptions
  readonly clock: Clock
  readonly uidBase: number
  readonly leaseSeconds: number
  readonly threads: number
  /** What this instance keeps where other uids can reach; under root only. */
  readonly instanceFolder: string
  /** Copies of our own program, shared with other Paddocks on this machine; under root only. */
  readonly codeFolder: string
  readonly claims: Claims
  readonly #types: readonly FleetType[]
  #gpus: { at: number; found: Promise<Gpu[]> } | null = null
  #setpriv: Promise<string | null> | null = null

  constructor(options: LocalOptions) {
    if (!/^[a-z0-9-]+$/.test(options.instanceId)) throw new Error(`bad instance id: ${options.instanceId}`)
    const system = options.systemFolder ?? systemFolder
    this.options = options
    this.clock = options.clock ?? systemClock
    this.uidBase = options.uidBase ?? defaultUidBase
    this.leaseSeconds = options.leaseSeconds ?? 900
    this.threads = options.threadsPerReplica ?? Math.max(1, Math.floor(availableParallelism() / 2))
    this.instanceFolder = join(system, options.instanceId)
    this.codeFolder = join(system, 'runtime')
    this.claims = new Claims(runsAsRoot() ? join(system, 'claims') : join(options.folder, '.claims'))
    this.#types = options.gpuTypes ?? []
  }

  run(id: ReplicaId): RunFolder {
    return new RunFolder(this.options.folder, id)
  }

  runs(): RunFolder[] {
    return replicasIn(this.options.folder).map((id) => this.run(id))
  }

  /** Where the engine may write, and finds what was placed for it alone. */
  replicaFolder(id: ReplicaId): string {
    return runsAsRoot() ? join(this.instanceFolder, 'replicas', id) : this.run(id).file('engine')
  }

  get weightsFolder(): string {
    return join(this.instanceFolder, 'weights')
  }

  get types(): readonly FleetType[] {
    return this.#types
  }

  /** As last seen; asked anew now and then, and nobody waits for that but the first. */
  gpus(): Promise<Gpu[]> {
    const now = this.clock.monotonicMs()
    if (this.#gpus === null) {
      this.#gpus = { at: now, found: this.#probeGpus() }
    } else if (now - this.#gpus.at > gpusFreshMs) {
      this.#gpus.at = now
      void this.#probeGpus().then((gpus) => (this.#gpus = { at: now, found: Promise.resolve(gpus) }))
    }
    return this.#gpus.found
  }

  /** A probe that fails is no GPUs. */
  #probeGpus(): Promise<Gpu[]> {
    const warn = (message: string) => this.options.log?.warn({}, message)
    return (this.options.probeGpus ?? probeGpus)(warn).catch((error: Error) => {
      warn(`GPUs could not be looked up: ${error.message}`)
      return []
    })
  }

  /** `except`: this replica's own share counts as free. */
  async offers(except?: ReplicaId) {
    return offersOf(await this.#machine(except))
  }

  async #machine(except?: ReplicaId): Promise<Machine> {
    const gpus = await this.gpus()
    const taken = new Set(this.claims.all().map((claim) => claim.name))
    const living = this.runs().filter((run) => run.id !== except && run.exit() === null)
    return {
      cpuSlots: this.options.cpuSlots ?? 8,
      fleet: this.options.fleet,
      types: this.#types,
      gpus,
      freeGpus: gpus.filter((gpu) => !taken.has(gpuClaim(gpu))),
      held: living.flatMap((run) => run.intent()?.placement ?? []),
    }
  }

  /** Full path of a `setpriv` that can tie the engine's life to its keeper's; asked once. */
  setpriv(): Promise<string | null> {
    this.#setpriv ??= findSetpriv()
    return this.#setpriv
  }
}

export function gpuClaim(gpu: Gpu): string {
  return `gpu-${gpu.vendor}-${gpu.index}`
}

async function findSetpriv(): Promise<string | null> {
  const program = findProgram('setpriv')
  if (program === null) return null
  try {
    // BusyBox has one that does not know these.
    await promisify(execFile)(program, [...setprivOptions, '--', '/bin/sh', '-c', 'exit 0'], { env: childEnv() })
    return program
  } catch {
    return null
  }
}
