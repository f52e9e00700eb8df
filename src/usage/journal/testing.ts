/** For tests: requests as the ledger sees them, disks that fail, and journals below a folder of their own. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../runtime/clock.ts'
import { silentLog } from '../../runtime/log.ts'
import type { SettledRequest } from '../request.ts'
import { type Disk, realDisk } from './disk.ts'
import { Journal, type JournalOptions } from './journal.ts'
import { encodeRequest } from './record.ts'
import { type Ledger, Shipper, type ShipperOptions } from './shipper.ts'

let made = 0

export function requestOf(over: Partial<SettledRequest> = {}): SettledRequest {
  made += 1
  return {
    requestId: `req_${String(made).padStart(9, '0')}`,
    clientRequestId: null,
    deploymentId: 'dep_1',
    orgId: 'org_a',
    keyId: 'key_a',
    replicaId: 'rep_1',
    route: 'chat/completions',
    model: 'mine',
    modelId: 'paddock/starter',
    adapter: null,
    stream: false,
    status: 200,
    code: null,
    usage: { promptTokens: 5, completionTokens: 3 },
    timings: { auth: 0.1, queue: 0, ttft: 12, streaming: 0, longestPause: 0, total: 20 },
    bytes: { in: 100, out: 400 },
    receivedAt: Date.UTC(2026, 10, 21, 12) + made,
    ...over,
  }
}

/** What it settles as when its gateway dies. */
export function draftOf(request: SettledRequest): SettledRequest {
  return {
    ...request,
    status: 500,
    code: 'gateway_lost',
    usage: { promptTokens: 25, completionTokens: 0, estimated: true },
  }
}

type After = (end: () => void | Promise<void>) => void

/** A folder that is gone when the test is over. */
export function temporaryRoot(after: After): string {
  const root = mkdtempSync(join(tmpdir(), 'paddock-journal-'))
  after(() => rmSync(root, { recursive: true, force: true }))
  return join(root, 'journal')
}

/** Closed when the test is over, at the latest. */
export async function openJournal(after: After, root: string, over: Partial<JournalOptions> = {}): Promise<Journal> {
  const limits = { syncMs: 5, segmentBytes: 64 * 1024, maxBytes: 2 ** 30, minFreeBytes: 0, lookMs: 20 }
  const parts = { whenFull: 'refuse', clock: systemClock, log: silentLog } as const
  const journal = await Journal.open({ root, ...limits, ...parts, ...over })
  after(() => journal.close())
  return journal
}

/** A ledger in memory: takes what it does not have yet. */
export class MemoryLedger implements Ledger {
  readonly lines = new Map<string, string>()
  /** Lines that it was given, again and again ones too. */
  given = 0
  away = false

  async record(lines: readonly string[]): Promise<number> {
    if (this.away) throw new Error('the database is away')
    this.given += lines.length
    const fresh = lines.filter((line) => !this.lines.has(JSON.parse(line)[0]))
    for (const line of fresh) this.lines.set(JSON.parse(line)[0], line)
    return fresh.length
  }

  refuses(): boolean {
    return false
  }

  has(request: SettledRequest): boolean {
    return this.lines.get(request.requestId) === encodeRequest(request)
  }
}

export function shipperOf(root: string, ledger: Ledger, over: Partial<ShipperOptions> = {}): Shipper {
  return new Shipper({ root, ledger, horizon: () => 0, clock: systemClock, log: silentLog, ...over })
}

/** A disk whose moods can be set. */
export class MoodyDisk implements Disk {
  /** Bytes that it still takes; the write that goes beyond is cut short. */
  room = Number.POSITIVE_INFINITY
  free = Number.POSITIVE_INFINITY
  syncFails = false
  syncs = 0
  writes = 0

  create(path: string): number {
    if (this.room <= 0) throw full()
    return realDisk.create(path)
  }

  write(descriptor: number, bytes: Buffer, length: number, position: number): number {
    this.writes += 1
    if (this.room <= 0) throw full()
    const taken = realDisk.write(descriptor, bytes, Math.min(length, this.room), position)
    this.room -= taken
    return taken
  }

  async sync(descriptor: number): Promise<void> {
    this.syncs += 1
    if (this.syncFails) throw new Error('EIO: i/o error, fdatasync')
    await realDisk.sync(descriptor)
  }

  rename = realDisk.rename
  remove = realDisk.remove
  syncFolder = realDisk.syncFolder
  close = realDisk.close
  freeBytes = async () => this.free
}

function full(): Error {
  return Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
}
