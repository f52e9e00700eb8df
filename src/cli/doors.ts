/** What the command line starts but does not contain, and the options that every command has. */
import type { SettingName } from '../runtime/settings.ts'
import type { TargetOptions } from './target.ts'

export type ServeFlags = Partial<Record<SettingName, unknown>> & { config?: string }

export interface Doors {
  version: string
  /** Runs a server until it is asked to stop; resolves with the exit status. */
  serve(flags: ServeFlags): Promise<number>
}

export interface GlobalOptions extends TargetOptions {
  json?: boolean
  color: boolean
}
