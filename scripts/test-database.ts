/**
 * One Postgres for the test files that run side by side, instead of one in each: to make and start it is most of what
 * many of them would take. A file that leaves a database there is told so, as for processes and files.
 */
import { withDatabase } from '../src/store/connection.ts'
import { type Database, openDatabase } from '../src/store/database.ts'
import { serverVariable, startTestServer, type TestServer } from '../src/store/testing.ts'

/** Each file has a pool or three; at most four files run at a time. */
const moreConnections = 200

/** What a file that runs on it needs, and what is looked at when the file has ended. */
export interface FileDatabase {
  environment: Record<string, string>
  /** Names of databases that this process left; they are gone then. */
  leftBy(pid: number): Promise<string[]>
}

export class SharedDatabase implements FileDatabase {
  readonly environment: Record<string, string>
  readonly #server: TestServer
  readonly #admin: Database

  constructor(server: TestServer) {
    this.#server = server
    this.environment = { [serverVariable]: JSON.stringify(server.connection) }
    this.#admin = openDatabase({ connection: withDatabase(server.connection, 'postgres'), poolSize: 1, name: 'runner' })
  }

  /** Starts it; it ends with us, however we end. */
  static async start(): Promise<SharedDatabase> {
    return new SharedDatabase(await startTestServer(moreConnections))
  }

  async leftBy(pid: number): Promise<string[]> {
    const rows = await this.#admin.query<{ name: string }>(
      `select datname as name from pg_database where starts_with(datname, $1) order by 1`,
      [`test_${pid}_`],
    )
    for (const { name } of rows) await this.#admin.run(`drop database if exists ${name} with (force)`)
    return rows.map(({ name }) => name)
  }

  async stop(): Promise<void> {
    await this.#admin.close()
    await this.#server.stop()
  }
}
