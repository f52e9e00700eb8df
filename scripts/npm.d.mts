/** How to start npm, or null when there is none. */
export function findNpm(): { file: string; args: string[] } | null
/** Environment for npm running in `folder`. */
export function npmEnvironment(folder: string): Record<string, string | undefined>
