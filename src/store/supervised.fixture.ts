/**
 * Starts an embedded Postgres for tests that kill its supervisor. Argument: EmbeddedOptions as JSON. Prints one line of
 * JSON when it is ready, stops it cleanly on SIGTERM, and ends by itself when its input closes.
 */
import { startEmbeddedPostgres } from './embedded.ts'

const postgres = await startEmbeddedPostgres({
  ...JSON.parse(process.argv[2]!),
  log: (line) => process.stderr.write(`${line}\n`),
})
const { connection, identity, folder, account } = postgres
process.stdin.on('end', () => process.exit(0)).resume()
process.once('SIGTERM', async () => {
  await postgres.stop()
  process.exit(0)
})
process.stdout.write(`${JSON.stringify({ connection, identity, folder, account })}\n`)
