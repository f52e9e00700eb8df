/**
 * One folder per replica is all that is known of it: whoever starts next reads here what was ordered, who keeps it and
 * how it ended. Each file has one writer and appears whole or not at all:
 *
 *   intent.json  driver   what was admitted: hardware and account; counts as occupied from here on
 *   order.json   driver   what the keeper shall start; the first writer wins
 *   keeper.json  keeper   who keeps it; creating it is the claim that makes one keeper of many
 *   lease        driver   touched by `renew`
 *   stop.json    driver   how long to wait after SIGTERM
 *   exit.json    keeper   how it ended; by the driver when the keeper was killed. The first writer wins
 *   log, log.1   keeper   the engine's output
 *   keeper.log   keeper   its own complaints, empty as a rule
 */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { isId, type ReplicaId } from '../../kernel/ids.ts'
import { readIfThere, readJsonIfThere } from '../../runtime/files.ts'
import type { Account } from '../../runtime/isolation.ts'
import { isAlive, type ProcessIdentity } from '../../runtime/processes.ts'
import type { Exit, Placement } from '../contract.ts'

export interface Intent {
  placement: Placement
  /** Device indices, and who makes them; empty on CPU and on emulated hardware. */
  gpuIds: string[]
  gpuVendor: 'nvidia' | 'amd' | null
  /** Who the engine runs as; null = as we do. */
  account: Account | null
  /** ms since epoch. */
  at: number
}

export interface KeeperOrder {
  replicaId: ReplicaId
  /** Stands in the engine's environment and in the keeper's arguments, so that a sweep knows strays (strays.ts). */
  marker: string
  address: string
  port: number
  account: Account | null
  /** The whole command, guards included. */
  argv: string[]
  /** The whole environment. */
  env: Record<string, string>
  cwd: string
  stopGraceSeconds: number
  leaseSeconds: number
  /** Its hardware was admitted and its files began to be placed, ms since epoch; absent in orders of old. */
  filesAt?: number
}

/** `pid` 0: nobody keeps it and nobody ever will (removed before its start, or damaged by a power cut). */
export interface KeeperRecord extends ProcessIdentity {
  /** 0 until the engine runs. */
  enginePid: number
  engineStart: string
  /** When the engine was started, ms since epoch. */
  startedAt: number
}

export interface StopRequest {
  /** First time that somebody asked, ms since epoch. */
  askedAt: number
  graceSeconds: number
}

export const noKeeper: KeeperRecord = { pid: 0, start: '', enginePid: 0, engineStart: '', startedAt: 0 }

export class RunFolder {
  readonly id: ReplicaId
  readonly path: string

  constructor(root: string, id: ReplicaId) {
    this.id = id
    this.path = join(root, id)
  }

  file(name: string): string {
    return join(this.path, name)
  }

  intent(): Intent | null {
    return readJsonIfThere<Intent>(this.file('intent.json'))
  }

  order(): KeeperOrder | null {
    return readJsonIfThere<KeeperOrder>(this.file('order.json'))
  }

  keeper(): KeeperRecord | null {
    const text = readIfThere(this.file('keeper.json'))
    if (text === null) return null
    return readJsonIfThere<KeeperRecord>(this.file('keeper.json')) ?? noKeeper
  }

  exit(): Exit | null {
    return readJsonIfThere<Exit>(this.file('exit.json'))
  }

  stop(): StopRequest | null {
    return readJsonIfThere<StopRequest>(this.file('stop.json'))
  }

  exists(): boolean {
    return statSync(this.path, { throwIfNoEntry: false }) !== undefined
  }

  /** Time of last change of a file, ms since epoch; 0 when it is missing. */
  changedAt(name: string): number {
    return statSync(this.file(name), { throwIfNoEntry: false })?.mtimeMs ?? 0
  }
}

/** Ids that have a folder below `root`, in order of creation. */
export function replicasIn(root: string): ReplicaId[] {
  return namesIn(root)
    .filter((name) => isId('rep', name))
    .sort()
}

/** Names in a folder; none when it does not exist. */
export function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** Identity of the engine, null while it is unknown. */
export function engineOf(keeper: KeeperRecord): ProcessIdentity | null {
  return keeper.enginePid === 0 ? null : { pid: keeper.enginePid, start: keeper.engineStart }
}

export function isKept(keeper: KeeperRecord | null): keeper is KeeperRecord {
  return keeper !== null && keeper.pid !== 0 && isAlive(keeper)
}
