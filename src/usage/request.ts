/** One inference request as the ledger sees it when it is over, whatever was on the wire. */
import type { InferenceRoute } from '../engines/contract.ts'
import type { LedgerStatus } from '../kernel/charge.ts'
import type { FaultCode } from '../kernel/fault-table.ts'

/** Tokens of one request, in our words, out of the engines' `usage` objects. */
export interface Usage {
  promptTokens: number
  completionTokens: number
  /** Part of the prompt that came from the engine's cache. */
  cachedTokens?: number
  /** Part of the completion that was reasoning. */
  reasoningTokens?: number
  /** True when the engine did not say and we counted events and bytes instead. */
  estimated?: true
}

/** Most tokens of a kind that one request can have; an engine that says more is not believed. */
export const tokensMaximum = 1_000_000_000

export interface SettledRequest {
  /** Ours, unique. */
  requestId: string
  /** The client's own X-Request-Id when it sent a usable one. */
  clientRequestId: string | null
  /** null when the request ended before it was known. */
  deploymentId: string | null
  /** Who pays: the deployment's organisation, else that of the key; null = nobody is known. */
  orgId: string | null
  keyId: string | null
  replicaId: string | null
  route: InferenceRoute
  /** As the client wrote it. */
  model: string | null
  /** The deployment's model. */
  modelId: string | null
  adapter: string | null
  stream: boolean
  status: LedgerStatus
  code: FaultCode | null
  /** null when no engine was asked or it did not answer. */
  usage: Usage | null
  /**
   * Milliseconds. `queue`: waiting for its turn and for a replica; `ttft`: arrival to first content, null when there was none; `streaming`:
   * from there to the last of the engine's chunks, `longestPause`: the longest that none came meanwhile, both 0 of
   * answers in one piece. A client that reads slowly slows its engine, and shows in both.
   */
  timings: {
    auth: number
    queue: number
    ttft: number | null
    streaming: number
    longestPause: number
    total: number
  }
  bytes: { in: number; out: number }
  /** Arrival, ms since epoch. The request is settled `timings.total` later. */
  receivedAt: number
}
