import { breaksConnection, unavailable } from './database-error.ts'
import type { Lent } from './pool.ts'
import type { Tx, TxOptions } from './querier.ts'

/**
 * Runs `fn` once between begin and commit on a lent connection, and gives the connection back. Whatever goes wrong
 * before the commit undoes everything; a connection that breaks during the commit leaves the outcome unknown.
 */
export async function runOnce<T>(lent: Lent, fn: (tx: Tx) => Promise<T>, options: TxOptions): Promise<T> {
  const tx = new OpenTransaction(lent)
  try {
    await lent.client.query(`begin isolation level ${options.isolation ?? 'read committed'}`)
    const value = await fn(tx)
    tx.over = true
    await commit(lent)
    lent.giveBack()
    return value
  } catch (error) {
    tx.over = true
    await undo(lent, error)
    throw error
  }
}

class OpenTransaction implements Tx {
  readonly inTransaction = true
  readonly #lent: Lent
  over = false

  constructor(lent: Lent) {
    this.#lent = lent
  }

  async query<Row>(sql: string, params: readonly unknown[] = []): Promise<Row[]> {
    return (await this.#send(sql, params)).rows as Row[]
  }

  async run(sql: string, params: readonly unknown[] = []): Promise<number> {
    return (await this.#send(sql, params)).rowCount ?? 0
  }

  #send(sql: string, params: readonly unknown[]) {
    if (this.over) throw new Error('This transaction is over; something used it without waiting.')
    return this.#lent.client.query(sql, params as unknown[])
  }
}

async function commit(lent: Lent): Promise<void> {
  try {
    const { command } = await lent.client.query('commit')
    // Postgres answers a commit after a failed statement with a rollback and no error.
    if (command !== 'COMMIT')
      throw new Error('The transaction was undone: a statement in it failed and nobody said so.')
  } catch (error) {
    if (!breaksConnection(error)) throw error
    throw unavailable('The connection to the database broke during a commit; whether it took place is unknown.', error)
  }
}

async function undo(lent: Lent, error: unknown): Promise<void> {
  try {
    if (!breaksConnection(error)) await lent.client.query('rollback')
    lent.giveBack(error)
  } catch (rollbackError) {
    lent.giveBack(rollbackError)
  }
}
