/**
 * Stage 8: the one way out. Every request ends here, once, before its last byte leaves; and what is about to be sent to
 * an engine is written down here first, as what it ends as when this process dies.
 */
import type { LedgerStatus } from '../kernel/charge.ts'
import type { FaultCode } from '../kernel/fault-table.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import type { Journal } from '../usage/journal/journal.ts'
import type { SettledRequest, Usage } from '../usage/request.ts'
import type { Exchange } from './exchange.ts'
import type { Limiter } from './limits/limiter.ts'
import { estimatedUsage } from './usage.ts'

export interface Ending {
  /** The ledger's status. */
  status: LedgerStatus
  code: FaultCode | null
  usage: Usage | null
}

export type OnSettle = (settled: SettledRequest) => void

/** Where requests are written down. */
export type Metering = Pick<Journal, 'open' | 'settle' | 'written' | 'requireRoom' | 'state'>

export interface SettleParts {
  /** null: nothing is written down. */
  metering: Metering | null
  onSettle: OnSettle
  clock: Clock
  log: Log
  limiter: Limiter
}

/**
 * Before the first engine is asked, which waits for what this gives: null = for nothing. Then `requireBegun` says whether
 * it could be written down. Throws Fault `journal_full`.
 */
export function begin(exchange: Exchange, { metering, clock }: SettleParts): Promise<void> | null {
  if (exchange.begun) return null
  exchange.begun = true
  if (metering === null) return null
  const lost: Ending = { status: 500, code: 'gateway_lost', usage: estimatedUsage(exchange.bytesIn, 0) }
  exchange.opened = metering.open(record(exchange, lost, clock.monotonicMs()))
  return metering.written()
}

/** Throws Fault `journal_full` when the request could not be written down and is not to be served without that. */
export function requireBegun(exchange: Exchange, { metering }: SettleParts): void {
  if (!exchange.opened?.lost) return
  exchange.opened = null
  metering?.requireRoom()
}

/** A second call is a bug of ours: it is reported and changes nothing. */
export function settle(
  exchange: Exchange,
  ending: Ending,
  { metering, onSettle, clock, log, limiter }: SettleParts,
): void {
  const { requestId, principal, opened } = exchange
  if (exchange.settled) {
    log.error({ requestId, status: ending.status }, 'request settled twice')
    return
  }
  exchange.settled = true
  exchange.opened = null
  exchange.answeredTokens = ending.usage?.completionTokens ?? 0
  const { admission } = exchange
  if (admission !== null) limiter.leave(exchange.deployment!.deploymentId, admission, ending.usage)
  const settled = record(exchange, ending, clock.monotonicMs())
  try {
    // Whose key is unknown is in nobody's ledger: anybody could fill it.
    if (principal !== null) metering?.settle(opened, settled)
    onSettle(settled)
  } catch (error) {
    log.error({ requestId, error: String(error) }, 'settlement was not taken')
  }
}

function record(exchange: Exchange, ending: Ending, now: number): SettledRequest {
  const { deployment, principal, ask } = exchange
  return {
    requestId: exchange.requestId,
    clientRequestId: exchange.clientRequestId,
    deploymentId: deployment?.deploymentId ?? null,
    orgId: deployment?.orgId ?? principal?.orgId ?? null,
    keyId: principal?.keyId ?? null,
    replicaId: exchange.replicaId,
    route: exchange.meant.route,
    model: ask?.model ?? null,
    modelId: deployment?.modelId ?? null,
    adapter: exchange.adapters === null ? null : exchange.adapters.names,
    stream: ask?.stream ?? false,
    status: ending.status,
    code: ending.code,
    usage: ending.usage,
    timings: {
      auth: exchange.authMs,
      queue: exchange.heldMs,
      ttft: exchange.ttftMs,
      streaming: exchange.streamingMs,
      longestPause: exchange.longestPauseMs,
      total: now - exchange.startedAt,
    },
    bytes: { in: exchange.bytesIn, out: exchange.bytesOut },
    receivedAt: exchange.receivedAt,
  }
}
