/** How a replica ends: asked by somebody, found dead, and removed once nothing of it is left. */
import { renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createFileOnce, writeFileAtomic } from '../../runtime/files.ts'
import { randomToken } from '../../runtime/ids.ts'
import { isAlive, signalProcess } from '../../runtime/processes.ts'
import { ComputeError, type Exit } from '../contract.ts'
import type { Host } from './host.ts'
import { lastLinesMaximum, tail } from './output.ts'
import { engineOf, isKept, type KeeperRecord, noKeeper, type RunFolder } from './run-folder.ts'
import { endRemains } from './strays.ts'

/** A keeper that has not ended its engine this long after the grace is stuck, and killed. */
const stuckAfterSeconds = 10
const askAgainMs = 1_000

/** Asks the keeper to stop its engine. May be called again, also with a shorter grace. */
export function askToStop(host: Host, run: RunFolder, keeper: KeeperRecord, graceSeconds?: number): void {
  const before = run.stop()
  const now = host.clock.now()
  const askedAt = before?.askedAt ?? now
  const grace = graceSeconds ?? before?.graceSeconds ?? run.order()?.stopGraceSeconds ?? 0
  if (before?.graceSeconds !== grace)
    writeFileAtomic(run.file('stop.json'), JSON.stringify({ askedAt, graceSeconds: grace }))
  const isStuck = now - askedAt > (grace + stuckAfterSeconds) * 1000
  signalProcess(keeper, isStuck ? 'SIGKILL' : 'SIGTERM')
}

/** Stops the engine and waits, no longer than the grace and what a stuck keeper takes. False when it did not end. */
export async function endWithin(host: Host, run: RunFolder, graceSeconds?: number): Promise<boolean> {
  const begun = host.clock.monotonicMs()
  let nextAskMs = begun
  for (;;) {
    const keeper = run.keeper()
    if (!isKept(keeper)) return endRemains(run, host.clock)
    const now = host.clock.monotonicMs()
    if (now - begun > ((run.stop()?.graceSeconds ?? 0) + stuckAfterSeconds * 2) * 1000) return false
    if (now >= nextAskMs) {
      askToStop(host, run, keeper, graceSeconds)
      nextAskMs = now + askAgainMs
    }
    await host.clock.sleep(25)
  }
}

/**
 * Called when the keeper is gone: ends what is left and gives the exit record, made here when the keeper was killed
 * before it could. Its time is the last sign of life, not the time of discovery.
 */
export async function settle(host: Host, run: RunFolder, keeper: KeeperRecord): Promise<Exit> {
  const engine = engineOf(keeper)
  const outlived = engine !== null && isAlive(engine)
  const ended = await endRemains(run, host.clock)
  const written = run.exit()
  if (written !== null) return written
  if (!ended) throw new ComputeError('unavailable', `The engine of ${run.id} cannot be ended.`)
  const exit: Exit = {
    at: outlived ? host.clock.now() : lastSignOfLife(run, keeper),
    code: null,
    signal: 'SIGKILL',
    lastLines: tail(run.file('log'), lastLinesMaximum),
    why: keeper.pid === 0 ? neverKept : 'Its keeper was killed, and the engine with it.',
  }
  createFileOnce(run.file('exit.json'), JSON.stringify(exit))
  return run.exit() ?? exit
}

const neverKept = 'It was removed before it started, or this machine crashed while it was starting.'

function lastSignOfLife(run: RunFolder, keeper: KeeperRecord): number {
  return Math.round(Math.max(keeper.startedAt, run.changedAt('keeper.json'), run.changedAt('log')))
}

/** Makes sure that no keeper will ever start for this folder. */
export function forbidKeeper(run: RunFolder): void {
  createFileOnce(run.file('keeper.json'), JSON.stringify(noKeeper))
}

/** Removes every trace, in an order that a crash cannot make harmful: first it is no replica any more. */
export function remove(host: Host, run: RunFolder): void {
  const aside = join(host.options.folder, `${removedPrefix}${run.id}-${randomToken(6)}`)
  renameSync(run.path, aside)
  rmSync(host.replicaFolder(run.id), { recursive: true, force: true })
  host.claims.release(run.path)
  rmSync(aside, { recursive: true, force: true })
}

export const removedPrefix = '.removed-'
