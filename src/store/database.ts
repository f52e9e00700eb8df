/**
 * The one way to the database: statements, transactions that are repeated when others were in the way, notifications.
 * A Postgres that goes away fails what is running and nothing else; the pool finds it again when it is back.
 *
 * Values: times go in and come out as `Date` (timestamptz). int8 comes out as a number; one beyond 2^53 − 1 is an error
 * (cast it to text in the statement). numeric comes out as text, jsonb parsed; jsonb goes in through `json()`.
 */
import { type Clock, systemClock } from '../runtime/clock.ts'
import { type Connection, clientConfig } from './connection.ts'
import { isConflict, isConnectionLoss, translated } from './database-error.ts'
import { Listener } from './listener.ts'
import { ConnectionPool, poolSize, reconnectWithinMs, statementTimeoutMs } from './pool.ts'
import type { Database, Tx, TxOptions } from './querier.ts'
import { runOnce } from './transaction.ts'

export type { Connection } from './connection.ts'
export { errorCode, violates } from './database-error.ts'
export type { Database, Querier, Tx, TxOptions } from './querier.ts'

/** How often a transaction runs when others are in the way, before it fails. */
export const transactionAttempts = 6
const firstBackoffMs = 4

export interface DatabaseOptions {
  connection: Connection
  /** Shown in pg_stat_activity. */
  name?: string
  poolSize?: number
  /** 0 = no limit. */
  statementTimeoutMs?: number
  reconnectWithinMs?: number
  clock?: Clock
  log?: (line: string) => void
}

/** Opens nothing yet: connections are made when they are needed. */
export function openDatabase(options: DatabaseOptions): Database {
  const { connection, name = 'paddock', clock = systemClock, log = () => {} } = options
  const pool = new ConnectionPool({
    connection,
    name,
    clock,
    poolSize: options.poolSize ?? poolSize,
    statementTimeoutMs: options.statementTimeoutMs ?? statementTimeoutMs,
    reconnectWithinMs: options.reconnectWithinMs ?? reconnectWithinMs,
  })
  return new PooledDatabase(pool, new Listener(clientConfig(connection, `${name} listen`), clock, log), clock)
}

/** A value for a jsonb parameter (the driver would write a JavaScript array as a Postgres array). */
export function json(value: unknown): string {
  return JSON.stringify(value)
}

class PooledDatabase implements Database {
  readonly #pool: ConnectionPool
  readonly #listener: Listener
  readonly #clock: Clock

  constructor(pool: ConnectionPool, listener: Listener, clock: Clock) {
    this.#pool = pool
    this.#listener = listener
    this.#clock = clock
  }

  async query<Row>(sql: string, params: readonly unknown[] = []): Promise<Row[]> {
    return (await this.#send(sql, params)).rows as Row[]
  }

  async run(sql: string, params: readonly unknown[] = []): Promise<number> {
    return (await this.#send(sql, params)).rowCount ?? 0
  }

  async tx<T>(fn: (tx: Tx) => Promise<T>, options: TxOptions = {}): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await runOnce(await this.#pool.lend(), fn, options)
      } catch (error) {
        const again = isConflict(error) || isConnectionLoss(error)
        if (!again || attempt >= transactionAttempts || this.#pool.closing) throw translated(error)
        await this.#clock.sleep(firstBackoffMs * 3 ** (attempt - 1))
      }
    }
  }

  listen(channel: string, onNotify: (payload: string) => void): () => void {
    return this.#listener.add(channel, onNotify)
  }

  async close(): Promise<void> {
    await Promise.all([this.#listener.close(), this.#pool.close()])
  }

  async #send(sql: string, params: readonly unknown[]) {
    const lent = await this.#pool.lend()
    try {
      const result = await lent.client.query(sql, params as unknown[])
      lent.giveBack()
      return result
    } catch (error) {
      lent.giveBack(error)
      throw translated(error)
    }
  }
}
