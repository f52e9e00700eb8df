/** `paddock logs`: what the engines of a deployment wrote. Following polls; it ends when the deployment is gone. */
import type { ReplicaLog } from '../wire/native/explanation.ts'
import { wholeOption } from './deploy.ts'
import { usageFailure } from './failure.ts'
import { aboutDeployment, type Session } from './session.ts'
import { nullWhenNotFound } from './wait.ts'
import { harmless } from './width.ts'

const followEveryMs = 500
/** Lines per replica that one look brings while following; more within one period are lost. */
const followWindowLines = 1000
/** Most lines per replica that are asked for. */
const linesMaximum = 1000

export async function logs(
  session: Session,
  name: string,
  options: { lines: string; follow?: boolean },
): Promise<void> {
  const { screen, client } = session
  const lines = wholeOption('--lines', options.lines)!
  if (options.follow && screen.json) throw usageFailure('--follow never ends, so it cannot be one JSON document.')
  const window = options.follow ? followWindowLines : Math.min(lines, linesMaximum)
  const { data, next_cursor } = await aboutDeployment(name, client.readLogs(name, { lines: window }))
  if (options.follow) return follow(session, name, data, lines)
  screen.answer({ data, next_cursor }, () => data.flatMap((log) => logText(log, data.length)))
}

async function follow(session: Session, name: string, first: ReplicaLog[], lines: number): Promise<void> {
  const { screen, client, clock, interruption } = session
  const seen = new Map<string, string[]>()
  let logs: ReplicaLog[] | null = first
  while (logs !== null && !interruption.signal.aborted) {
    for (const log of logs) {
      const before = seen.get(log.replica_id)
      const fresh = before === undefined ? log.lines.slice(-lines) : linesAfter(before, log.lines)
      for (const line of logText({ ...log, lines: fresh }, logs.length)) screen.write(`${line}\n`)
      seen.set(log.replica_id, log.lines)
    }
    await clock.sleep(followEveryMs, interruption.signal)
    const next = await client.readLogs(name, { lines: followWindowLines }).catch(nullWhenNotFound)
    logs = next?.data ?? null
  }
  interruption.check()
}

/** The lines of `now` that were not in `before` yet: both are windows on the end of the same growing text. */
export function linesAfter(before: readonly string[], now: readonly string[]): string[] {
  for (let start = 0; start < before.length; start += 1) {
    const common = before.length - start
    if (common > now.length) continue
    if (before.slice(start).every((line, i) => now[i] === line)) return now.slice(common)
  }
  return [...now]
}

/** With several replicas every line says whose it is. */
function logText(log: ReplicaLog, replicas: number): string[] {
  const prefix = replicas > 1 ? `${log.replica_id.slice(-6)}  ` : ''
  return log.lines.map((line) => prefix + harmless(line))
}
