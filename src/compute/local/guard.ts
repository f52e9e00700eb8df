/** What stands between a keeper and the engine's program: limits, and death together with the keeper. Pure. */

/** Sockets, weights and libraries; less when the hard limit is lower. */
const openFilesMaximum = 65_536
/** Processes and threads of one engine's uid; not set when the uid is shared with others. */
const tasksMaximum = 16_384
/** Added to what the kernel reckons when memory runs out: engines go before control and database. */
const outOfMemoryScore = 500

const script = `
ulimit -c 0
ulimit -n "$1" 2>/dev/null || ulimit -n "$(ulimit -Hn)"
if [ "$2" -gt 0 ]; then ulimit -u "$2" 2>/dev/null || ulimit -p "$2" 2>/dev/null; fi
{ echo ${outOfMemoryScore} >/proc/self/oom_score_adj; } 2>/dev/null
shift 2
exec "$@"
`.trim()

export interface Guard {
  /** Full path of a `setpriv` that knows these options; null = the engine has only its closed stdin as a sign. */
  setpriv: string | null
  ownUid: boolean
}

/** Options with which `setpriv` ends the engine when its keeper dies, and lets no setuid program raise it. */
export const setprivOptions = ['--pdeathsig', 'KILL', '--no-new-privs']

/** The program stays one process with one pid through all of this, so its identity is known from the first moment. */
export function guarded(argv: readonly string[], { setpriv, ownUid }: Guard): string[] {
  const limits = [String(openFilesMaximum), String(ownUid ? tasksMaximum : 0)]
  const death = setpriv === null ? [] : [setpriv, ...setprivOptions, '--']
  return ['/bin/sh', '-c', script, 'engine', ...limits, ...death, ...argv]
}
