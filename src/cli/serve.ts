/** What `paddock serve` passes on: its flags as settings, and the end of its parent as a request to stop. */
import type { ServeOptions } from './commands.ts'
import type { GlobalOptions, ServeFlags } from './doors.ts'
import { exitStatus } from './failure.ts'

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
  }
  return Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined))
}

/** Runs it; what nobody expected is told with its stack, because it is the operator who reads this. */
export async function runServer(start: () => Promise<number>): Promise<number> {
  try {
    return await start()
  } catch (error) {
    process.stderr.write(`paddock: the server ended because of an error in it:\n${(error as Error)?.stack ?? error}\n`)
    return exitStatus.failed
  }
}

/** A closed pipe is the one message that even a SIGKILL of the parent sends. It is taken as SIGTERM, once. */
export function stopWithParent(): void {
  const input = process.stdin as NodeJS.ReadStream & { unref?(): void }
  let asked = false
  const stop = () => {
    if (!asked) process.kill(process.pid, 'SIGTERM')
    asked = true
  }
  input.on('error', stop).on('close', stop).on('end', stop).resume()
  // The pipe alone is no reason to live on.
  input.unref?.()
}
