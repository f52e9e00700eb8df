import { homedir, totalmem } from 'node:os'

/** The one door to the environment outside of configuration: what a command line reads of it. */
export function environment(): NodeJS.ProcessEnv {
  return process.env
}

/**
 * A secret that the parent handed over by environment: read once and removed, so that no child and no dump of the
 * environment shows it. Undefined when it is not set or empty.
 */
export function takeFromEnvironment(name: string): string | undefined {
  const value = process.env[name]
  delete process.env[name]
  return value === '' ? undefined : value
}

/** Bytes of memory that this process and its children may use: the machine's, or less where it is confined. */
export function memoryBytes(): number {
  const confined = process.constrainedMemory()
  return confined > 0 ? Math.min(confined, totalmem()) : totalmem()
}

/** The home folder; "/" for a user who has none, which then is said to be not writable. */
export function homeFolder(): string {
  try {
    return homedir()
  } catch {
    return '/'
  }
}
