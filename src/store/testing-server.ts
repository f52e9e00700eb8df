/**
 * One Postgres for a whole run of tests instead of one per file:
 * `node --test --test-global-setup=src/store/testing-server.ts …`.
 */
import { serverVariable, startTestServer, type TestServer } from './testing.ts'

let server: TestServer | null = null

export async function globalSetup(): Promise<void> {
  server = await startTestServer()
  process.env[serverVariable] = JSON.stringify(server.connection)
}

export async function globalTeardown(): Promise<void> {
  await server?.stop()
}
