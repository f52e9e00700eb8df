/** The entry of the `paddock` command: the command line, and the server behind its `serve`. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCommandLine } from './cli/program.ts'
import { packageRoot } from './runtime/self.ts'

const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string }

process.exitCode = await runCommandLine(process.argv.slice(2), {
  version,
  serve: async (flags) => (await import('./server.ts')).serve(flags),
})
