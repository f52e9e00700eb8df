/**
 * Parts of the server that are kept down, by what an operator could do as well: a control that is killed each time it
 * is started, a database whose configuration it refuses, processes that stand still.
 */
import assert from 'node:assert/strict'
import { appendFileSync, existsSync, readFileSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readJsonIfThere } from '../../src/runtime/files.ts'
import { signalProcess } from '../../src/runtime/processes.ts'
import type { Server } from '../e2e/harness.ts'
import type { Place } from '../e2e/place.ts'
import type { Role } from '../e2e/processes.ts'

/** Ends the outage; what was down comes back by itself. */
export type End = () => Promise<void>

const lookEveryMs = 10

/** Every control that the supervisor starts is killed before it can do anything. */
export async function controlDown(server: Server): Promise<End> {
  let over = false
  let killed = 0
  const killing = (async () => {
    while (!over) {
      for (const pid of childrenOf(server.pid)) {
        if (!/server-control\.[jt]s/.test(commandOf(pid))) continue
        process.kill(pid, 'SIGKILL')
        killed += 1
      }
      await sleep(lookEveryMs)
    }
  })()
  while (killed === 0) await sleep(lookEveryMs)
  return async () => {
    over = true
    await killing
    assert.ok(killed >= 2, 'it was started again, and killed again')
  }
}

/** The postmaster is killed and cannot start: its configuration has a line that it refuses. */
export async function databaseDown(place: Place): Promise<End> {
  const elsewhere = readJsonIfThere<{ folder?: string }>(join(place.dataFolder, 'postgres-location.json'))?.folder
  const configuration = join(elsewhere ?? join(place.dataFolder, 'postgres'), 'postgresql.conf')
  const { size } = statSync(configuration)
  appendFileSync(configuration, '\nno_such_setting = on\n')
  assert.ok(signalProcess(place.process('postmaster'), 'SIGKILL'))
  return async () => truncateSync(configuration, size)
}

/** All processes of these roles stand still: they neither answer nor end. */
export async function frozen(place: Place, ...roles: Role[]): Promise<End> {
  const held = place.processes(...roles)
  assert.ok(held.length > 0)
  for (const one of held) signalProcess(one, 'SIGSTOP')
  return async () => {
    for (const one of held) signalProcess(one, 'SIGCONT')
  }
}

function childrenOf(pid: number): number[] {
  const path = `/proc/${pid}/task/${pid}/children`
  return existsSync(path) ? readFileSync(path, 'utf8').trim().split(' ').filter(Boolean).map(Number) : []
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1')
  } catch {
    return ''
  }
}
