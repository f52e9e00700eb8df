import type { ClientConfig } from 'pg'

/** Where a Postgres is: an address of somebody else's, or the socket of the embedded one. Carries the password. */
export type Connection =
  | { url: string }
  | {
      /** Folder of the socket, or a host name. */
      host: string
      port: number
      user: string
      password: string
      database: string
    }

/** Connecting, authentication included, takes at most this. */
export const connectTimeoutMs = 5_000

/** The part of a `pg` configuration that says where and who. Nothing is taken from PG* variables of the environment. */
export function clientConfig(connection: Connection, applicationName: string): ClientConfig {
  const common = {
    application_name: applicationName,
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
  }
  if ('url' in connection) return { ...common, connectionString: connection.url }
  const { host, port, user, password, database } = connection
  return { ...common, host, port, user, password, database }
}

/** The same server's other database. */
export function withDatabase(connection: Connection, database: string): Connection {
  if (!('url' in connection)) return { ...connection, database }
  const url = new URL(connection.url)
  url.pathname = `/${encodeURIComponent(database)}`
  return { url: url.href }
}
