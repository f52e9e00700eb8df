/**
 * `paddock top`: what deployments do right now. On a terminal it goes on until Ctrl-C, and a server that is away for a
 * moment is waited for; elsewhere, with --once and with --json it looks once.
 */
import { ApiError } from '../wire/native/client.ts'
import type { DeploymentMetrics, metricsWindows } from '../wire/native/metrics.ts'
import { byTraffic, metricsColumns, metricsPage } from './metrics-text.ts'
import { aboutDeployment, allPages, type Session } from './session.ts'
import { tableLines } from './table.ts'
import { nullWhenNotFound } from './wait.ts'
import { timeShown } from './words.ts'

export interface TopOptions {
  window: (typeof metricsWindows)[number]
  once?: boolean
}

const lookEveryMs = 2_000
/** Asked at the same time. */
const asksMaximum = 8
/** Longer lists are not for eyes; each is asked for by itself. */
const shownMaximum = 200

export async function top(session: Session, name: string | undefined, options: TopOptions): Promise<void> {
  const { screen, interruption, clock } = session
  const look = name === undefined ? () => lookAtAll(session, options) : () => lookAtOne(session, name, options)
  const first = await look()
  if (!screen.live || options.once) {
    screen.answer(first.document, first.lines)
    return
  }
  let lines = first.lines()
  while (!interruption.signal.aborted) {
    const head = `${timeShown(new Date(clock.now()), new Date(clock.now()))}  last ${options.window}  Ctrl-C ends`
    screen.write(`${clear}${screen.paint('dim', head)}\n\n${lines.join('\n')}\n`)
    await clock.sleep(lookEveryMs, interruption.signal)
    if (interruption.signal.aborted) break
    lines = await look().then(
      (seen) => seen.lines(),
      (error) => [...lines, '', screen.paint('red', passing(error).message)],
    )
  }
  interruption.check()
}

/** Cursor home, everything below it gone. */
const clear = '\u001B[H\u001B[2J'

interface Look {
  document: unknown
  lines(): string[]
}

async function lookAtOne({ screen, client }: Session, name: string, { window }: TopOptions): Promise<Look> {
  const metrics = await aboutDeployment(name, client.getMetrics(name, { window }))
  return { document: metrics, lines: () => metricsPage(metrics, screen.paint) }
}

async function lookAtAll({ screen, client }: Session, { window }: TopOptions): Promise<Look> {
  const deployments = await allPages((page) => client.listDeployments(page))
  const asked = deployments.data.slice(0, shownMaximum)
  const rows: DeploymentMetrics[] = []
  const next = asked.values()
  const ask = async () => {
    // One that was deleted since is no row.
    for (const { id } of next) {
      const metrics = await client.getMetrics(id, { window }).catch(nullWhenNotFound)
      if (metrics !== null) rows.push(metrics)
    }
  }
  await Promise.all(Array.from({ length: asksMaximum }, ask))
  rows.sort(byTraffic)
  const left = deployments.data.length - asked.length
  return {
    document: { data: rows, next_cursor: null },
    lines: () => [
      ...tableLines(metricsColumns(screen.paint), rows, screen.columns),
      ...(rows.length === 0 ? ['No deployments.'] : []),
      ...(left > 0 ? [screen.paint('dim', `and ${left} more`)] : []),
    ],
  }
}

/** The error when it may pass by itself; throws any other. */
function passing(error: unknown): ApiError {
  if (error instanceof ApiError && (error.code === 'unreachable' || error.status >= 500)) return error
  throw error
}
