/** The shapes of the database that the domains see. */
export interface Querier {
  /** The rows. Throws Fault `unavailable` when the database is away or too slow, else Postgres' own error. */
  query<Row = Record<string, unknown>>(sql: string, params?: readonly unknown[]): Promise<Row[]>
  /** The number of rows that were inserted, updated or deleted. Throws like `query`. */
  run(sql: string, params?: readonly unknown[]): Promise<number>
}

/** A transaction under way. */
export interface Tx extends Querier {
  readonly inTransaction: true
}

export interface TxOptions {
  /** Default `read committed`. */
  isolation?: 'read committed' | 'repeatable read' | 'serializable'
}

export interface Database extends Querier {
  /**
   * Runs `fn` in a transaction and commits. `fn` may run several times (serialization failure, deadlock, connection
   * lost before the commit): it must change nothing but the database. Throws Fault `unavailable` when that does not
   * help; when the connection broke during the commit itself, whether it took place is unknown and the message says so.
   */
  tx<T>(fn: (tx: Tx) => Promise<T>, options?: TxOptions): Promise<T>
  /**
   * Calls `onNotify` at every notification on the channel, and once whenever listening (re)begins, because anything may
   * have been missed before. Returns the function that ends it.
   */
  listen(channel: string, onNotify: (payload: string) => void): () => void
  /** Ends all connections; running statements get `closeGraceMs`. Idempotent. */
  close(): Promise<void>
}
