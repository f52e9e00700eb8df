/** Stage 8: the one way out. Every request ends here, once, before its last byte leaves. */
import type { FaultCode } from '../kernel/fault-table.ts'
import type { Log } from '../runtime/log.ts'
import type { Exchange, SettledRequest } from './exchange.ts'
import type { Usage } from './usage.ts'

export interface Ending {
  /** The ledger's status. */
  status: number
  code: FaultCode | null
  usage: Usage | null
}

export type OnSettle = (record: SettledRequest) => void

/** A second call is a bug of ours: it is reported and changes nothing. */
export function settle(exchange: Exchange, ending: Ending, now: number, onSettle: OnSettle, log: Log): void {
  if (exchange.settled) {
    log.error({ requestId: exchange.requestId, status: ending.status }, 'request settled twice')
    return
  }
  exchange.settled = true
  try {
    onSettle(record(exchange, ending, now))
  } catch (error) {
    log.error({ requestId: exchange.requestId, error: String(error) }, 'settlement was not taken')
  }
}

function record(exchange: Exchange, ending: Ending, now: number): SettledRequest {
  return {
    requestId: exchange.requestId,
    clientRequestId: exchange.clientRequestId,
    deploymentId: exchange.deployment?.deploymentId ?? null,
    orgId: exchange.principal?.orgId ?? null,
    keyId: exchange.principal?.keyId ?? null,
    replicaId: exchange.replicaId,
    route: exchange.meant.route,
    model: exchange.ask?.model ?? null,
    stream: exchange.ask?.stream ?? false,
    status: ending.status,
    code: ending.code,
    usage: ending.usage,
    timings: {
      auth: exchange.authMs,
      queue: exchange.heldMs,
      ttft: exchange.ttftMs,
      total: now - exchange.startedAt,
    },
    bytes: { in: exchange.bytesIn, out: exchange.bytesOut },
    receivedAt: exchange.receivedAt,
  }
}
