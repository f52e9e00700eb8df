/** Lends connections: bounded in number, in waiting callers and in time; a Postgres that is away is waited for. */
import pg from 'pg'
import type { Clock } from '../runtime/clock.ts'
import { type Connection, clientConfig } from './connection.ts'
import { breaksConnection, isConnectionLoss, unavailable } from './database-error.ts'
import { resultTypes } from './result-types.ts'

/** Connections of one process. */
export const poolSize = 10
/** Statements and transactions of one process that may wait for a connection; more are refused. */
export const maxWaiting = 1_000
/** How long a statement waits for a Postgres that is away before it fails. */
export const reconnectWithinMs = 5_000
const reconnectEveryMs = 50
/** A statement that runs longer is ended by the server; one whose answer never comes is given up a little later. */
export const statementTimeoutMs = 15_000
const answerGraceMs = 5_000
/** A transaction that does nothing for so long is ended by the server: its locks hold others up. */
export const idleInTransactionMs = 30_000
/** What `close` waits for running statements before it cuts their connections. */
export const closeGraceMs = 2_000
const idleConnectionMs = 300_000

export interface PoolOptions {
  connection: Connection
  /** Shown in pg_stat_activity. */
  name: string
  poolSize: number
  /** 0 = no limit. */
  statementTimeoutMs: number
  reconnectWithinMs: number
  clock: Clock
}

export interface Lent {
  client: pg.PoolClient
  /** With an error that broke it, the connection is thrown away. */
  giveBack(error?: unknown): void
}

export class ConnectionPool {
  readonly #pool: pg.Pool
  readonly #options: PoolOptions
  readonly #lent = new Set<pg.PoolClient>()
  #closing: Promise<void> | null = null

  constructor(options: PoolOptions) {
    this.#options = options
    const timeout = options.statementTimeoutMs
    this.#pool = new pg.Pool({
      ...clientConfig(options.connection, options.name),
      max: options.poolSize,
      idleTimeoutMillis: idleConnectionMs,
      statement_timeout: timeout || undefined,
      query_timeout: timeout ? timeout + answerGraceMs : undefined,
      idle_in_transaction_session_timeout: idleInTransactionMs,
      types: resultTypes,
    })
    // Without listeners a broken connection would end the process; whoever uses it sees the error anyway.
    this.#pool.on('error', () => {})
    this.#pool.on('connect', (client) => client.on('error', () => {}))
  }

  /** Throws Fault `unavailable` when no connection can be had in time. */
  async lend(): Promise<Lent> {
    const client = await this.#connected()
    this.#lent.add(client)
    return {
      client,
      giveBack: (error) => {
        this.#lent.delete(client)
        client.release(breaksConnection(error))
      },
    }
  }

  get closing(): boolean {
    return this.#closing !== null
  }

  close(): Promise<void> {
    this.#closing ??= this.#end()
    return this.#closing
  }

  async #connected(): Promise<pg.PoolClient> {
    const { clock } = this.#options
    const deadline = clock.monotonicMs() + this.#options.reconnectWithinMs
    for (;;) {
      if (this.closing) throw unavailable('The database is being closed.')
      if (this.#pool.waitingCount >= maxWaiting) throw unavailable('Too many statements wait for the database.')
      try {
        return await this.#pool.connect()
      } catch (error) {
        if (!isConnectionLoss(error)) throw error
        if (clock.monotonicMs() >= deadline) throw unavailable('The database cannot be reached right now.', error)
      }
      await clock.sleep(reconnectEveryMs)
    }
  }

  async #end(): Promise<void> {
    const ended = new AbortController()
    const done = this.#pool.end().finally(() => ended.abort())
    await this.#options.clock.sleep(closeGraceMs, ended.signal)
    for (const client of this.#lent) void (client as unknown as pg.Client).end().catch(() => {})
    await done
  }
}
