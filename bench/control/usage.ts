/** What the processes of a server use. Linux. */
import { readFileSync } from 'node:fs'
import type { Place } from '../../test/e2e/place.ts'
import { cpuMicroseconds } from '../gateway/process.ts'

export type Part = 'control' | 'gateway' | 'postgres' | 'fleet'
export const parts: Part[] = ['control', 'postgres', 'gateway', 'fleet']

export function pidsOf(place: Place, part: Part): number[] {
  const found = place.processes().filter(({ role, command }) => {
    if (part === 'postgres') return role === 'postmaster' || role === 'backend'
    if (part === 'fleet') return command.includes('server-simulated')
    return role === part
  })
  return found.map(({ pid }) => pid)
}

/** CPU that each part has used so far, in seconds. Connections that have ended count no more. */
export function cpuSeconds(place: Place): Record<Part, number> {
  const of = (part: Part) => pidsOf(place, part).reduce((sum, pid) => sum + cpuOf(pid), 0) / 1e6
  return { control: of('control'), gateway: of('gateway'), postgres: of('postgres'), fleet: of('fleet') }
}

function cpuOf(pid: number): number {
  try {
    return cpuMicroseconds(pid)
  } catch {
    return 0
  }
}

/** Resident memory of a process in MB. */
export function memoryMb(pid: number): number {
  const kb = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kb) / 1024
}
