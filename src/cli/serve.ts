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

/** A closed pipe is the one message that even a SIGKILL of the parent sends. */
export function stopWithParent(): void {
  process.stdin.on('error', stop).on('close', stop).on('end', stop).resume()
  let stopping = false
  function stop(): void {
    if (stopping) return
    stopping = true
    process.kill(process.pid, 'SIGTERM')
  }
}
