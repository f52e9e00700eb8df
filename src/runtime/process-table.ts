/** Which processes there are, for the rare moments when a tree of them must be found. */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { childEnv, identify, type ProcessIdentity } from './processes.ts'

export interface ListedProcess {
  pid: number
  parentPid: number
  /** Program and arguments, separated by spaces; '' when it may not be read. */
  command: string
}

/** All processes that this user can see. */
export function listProcesses(): ListedProcess[] {
  return process.platform === 'linux' ? fromProc() : fromPs()
}

/** `pid` and everything below it in the tree, parents before children. */
export function processTree(pid: number, all: readonly ListedProcess[] = listProcesses()): ProcessIdentity[] {
  const pids = [pid]
  for (let i = 0; i < pids.length; i += 1)
    for (const one of all) if (one.parentPid === pids[i] && !pids.includes(one.pid)) pids.push(one.pid)
  return pids.map(identify).filter((identity) => identity !== null)
}

function fromProc(): ListedProcess[] {
  const pids = readdirSync('/proc').map(Number).filter(Number.isInteger)
  return pids.flatMap((pid) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
      const parentPid = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim()
      return [{ pid, parentPid, command }]
    } catch {
      // It ended while we looked.
      return []
    }
  })
}

function fromPs(): ListedProcess[] {
  const ps = spawnSync('ps', ['-axww', '-o', 'pid=,ppid=,command='], { encoding: 'utf8', env: childEnv() })
  return (ps.stdout ?? '').split('\n').flatMap((line) => {
    const match = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line)
    return match ? [{ pid: Number(match[1]), parentPid: Number(match[2]), command: match[3]! }] : []
  })
}
