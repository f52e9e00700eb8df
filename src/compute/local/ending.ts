/** Why an engine ended, in one sentence. Pure. */
import { never } from '../../kernel/never.ts'

export type Cause = 'by_itself' | 'asked' | 'lease' | 'folder_gone' | 'keeper_failed'

export interface Ending {
  cause: Cause
  code: number | null
  signal: string | null
  /** It ignored SIGTERM until its grace was over. */
  killedAfterSeconds: number | null
  leaseSeconds: number
}

export function whyItEnded(ending: Ending): string {
  const late = ending.killedAfterSeconds
  const how = late === null ? '' : ` It did not end within ${late} s of SIGTERM and was killed.`
  switch (ending.cause) {
    case 'asked':
      return `It was stopped as asked.${how}`
    case 'lease':
      return `Nobody renewed its lease for ${ending.leaseSeconds} s, so its keeper stopped it.${how}`
    case 'folder_gone':
      return `Its run folder was removed, so its keeper stopped it.${how}`
    case 'keeper_failed':
      return `Its keeper failed and stopped it.${how}`
    case 'by_itself':
      return byItself(ending.code, ending.signal)
    default:
      return never(ending.cause, 'cause')
  }
}

function byItself(code: number | null, signal: string | null): string {
  if (signal === 'SIGKILL') return 'The engine was killed (SIGKILL): by hand, or by the system for want of memory.'
  if (signal !== null) return `The engine was ended by ${signal}.`
  if (code === 126 || code === 127) return `The engine’s program could not be started (status ${code}).`
  return code === 0 ? 'The engine ended by itself, without an error.' : `The engine failed with status ${code}.`
}
