/**
 * Starts a program that ends when we do, however we end: a small shell holds the read end of a pipe of ours, and a
 * closed pipe is the one message that a SIGKILL cannot prevent. The program is in a session of its own, so that Ctrl-C
 * in a terminal reaches us alone and we end it in good order.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import type { Account } from '../runtime/isolation.ts'
import { childEnv } from '../runtime/processes.ts'

/**
 * Arguments: the signal to send when the pipe closes, then the program and its own. The pipe is moved to descriptor 3
 * because a shell gives its background jobs /dev/null for input; only the watching job keeps it.
 */
const script = `
exec 3<&0 </dev/null
signal=$1
shift
"$@" 3<&- &
program=$!
( while read -r line; do :; done <&3; kill -s "$signal" "$program" ) 2>/dev/null &
watch=$!
exec 3<&-
wait "$program"
status=$?
kill "$watch" 2>/dev/null
exit "$status"
`

export interface TiedOptions {
  argv: [program: string, ...rest: string[]]
  /** What the program gets when our end of the pipe closes. */
  endSignal: 'INT' | 'TERM'
  /** Null = we ourselves. */
  account: Account | null
  /** The account must be able to enter it; default `/`. */
  cwd?: string
  /** Descriptor that receives stdout and stderr. */
  output: number
}

export interface Ended {
  /** Exit status of the program; 128 + n when signal n ended it; null when the shell itself was killed or not started. */
  code: number | null
  /** Why the shell could not be started; '' when it was. */
  notStarted: string
}

export interface Tied {
  ended: Promise<Ended>
  /** Closes the pipe: the program gets its end signal. */
  end(): void
}

/** Never throws; a shell that cannot be started (as that account) counts as ended. */
export function startTied(options: TiedOptions): Tied {
  const child = spawn('/bin/sh', ['-c', script, 'sh', options.endSignal, ...options.argv], {
    cwd: options.cwd ?? '/',
    detached: true,
    stdio: ['pipe', options.output, options.output],
    // TZ spares initdb a search through the time zones of the system; messages are parsed by nobody but read by people.
    env: { ...childEnv(), LC_ALL: 'C', TZ: 'UTC' },
    ...(options.account ?? {}),
  })
  child.stdin?.on('error', () => {})
  return { ended: endOf(child), end: () => child.stdin?.destroy() }
}

function endOf(child: ChildProcess): Promise<Ended> {
  return new Promise((resolve) => {
    child.once('exit', (code) => resolve({ code, notStarted: '' }))
    child.once('error', (error) => resolve({ code: null, notStarted: error.message }))
  })
}
