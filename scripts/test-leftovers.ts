/** Who still belongs to the session of a test file. */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'

export interface Member {
  pid: number
  command: string
}

/** Live processes (zombies are none) of the session or process group `leader`. */
export function sessionMembers(leader: number): Member[] {
  return existsSync('/proc/self/stat') ? fromProc(leader) : fromPs(leader)
}

function fromProc(leader: number): Member[] {
  const members: Member[] = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1')
      const [state, , group, session] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      if (state === 'Z' || state === 'X') continue
      if (Number(group) !== leader && Number(session) !== leader) continue
      const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
      members.push({ pid: Number(name), command: command.slice(0, 200) })
    } catch {
      // ended while we looked
    }
  }
  return members
}

function fromPs(leader: number): Member[] {
  const { stdout } = spawnSync('ps', ['-axo', 'pid=,pgid=,stat=,command='], { encoding: 'utf8' })
  return stdout
    .split('\n')
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line))
    .filter((match) => match !== null && Number(match[2]) === leader && !match[3]!.startsWith('Z'))
    .map((match) => ({ pid: Number(match![1]), command: match![4]!.slice(0, 200) }))
}

/** SIGKILL to every member. */
export function endSession(leader: number): void {
  for (const member of sessionMembers(leader)) {
    try {
      process.kill(member.pid, 'SIGKILL')
    } catch {
      // gone by itself
    }
  }
}
