/** What `paddock serve` passes on: its flags as settings, and the end of its parent as a request to stop. */
import type { ServeOptions } from './commands.ts'
import type { GlobalOptions, ServeFlags } from './doors.ts'

/** Only what was typed; the environment, the file and the defaults are the server's own business. */
export function serveFlags(options: GlobalOptions, own: ServeOptions): ServeFlags {
  const flags: ServeFlags = {
    port: options.port,
    data: options.data,
    host: own.host,
    fleet: own.fleet,
    public_url: own.publicUrl,
    database_url: own.databaseUrl,
    keep_engines: own.keepEngines,
    'log.level': own.logLevel,
    config: own.config,
    role: own.role,
  }
  return Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined))
}

/** A closed pipe is the one message that even a SIGKILL of the parent sends. Asks once: a second time means hurry. */
export function stopWithParent(): void {
  let asked = false
  process.on('SIGTERM', () => {
    asked = true
  })
  const stop = () => {
    if (!asked) process.kill(process.pid, 'SIGTERM')
    asked = true
  }
  process.stdin.on('error', stop).on('close', stop).on('end', stop).resume()
}
