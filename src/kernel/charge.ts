/**
 * What a request ends as in the ledger, and whether its tokens are charged: the one table behind settlement, ledger,
 * bills and docs/errors.md. The status is the ledger's, not always the wire's: an answer that began with 200 may end as
 * 499 or 500.
 */
export interface Charge {
  when: string
  /** Its tokens are charged. */
  charged: boolean
}

const refused: Charge = { when: 'rejected before the model', charged: false }

export const chargeTable = {
  200: { when: 'finished', charged: true },
  400: refused,
  401: refused,
  403: refused,
  404: refused,
  405: refused,
  408: refused,
  409: refused,
  413: refused,
  415: refused,
  422: refused,
  429: refused,
  499: {
    when: 'the client left after inference began: tokens really produced, or the whole answer with gateway.on_disconnect drain',
    charged: true,
  },
  500: {
    when: 'the engine or our side died or failed, also after a 200 was already on the wire',
    charged: false,
  },
  503: { when: 'nothing could serve', charged: false },
  504: { when: 'the engine was too slow to begin', charged: false },
} as const satisfies Record<number, Charge>

/** Every status that a request can have in the ledger. */
export type LedgerStatus = keyof typeof chargeTable

export function isCharged(status: LedgerStatus): boolean {
  return chargeTable[status].charged
}
