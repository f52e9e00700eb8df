/** Versions of engines: which are known here, and what came with which. Pure. */

export interface KnownVersions {
  /** The oldest and the newest whose arguments were looked up. */
  oldest: string
  newest: string
}

/** How a program on the PATH says which version it is. */
export interface VersionProbe {
  /** As people call it. */
  engine: string
  args: readonly string[]
  /** Of the line that says it; the first group is the version. */
  pattern: RegExp
  /** null: nothing depends on it, it is only told. */
  known: KnownVersions | null
}

/** Below 0 when `a` is the older one. Versions are numbers with dots; `.post1` comes after what it follows. */
export function compareVersions(a: string, b: string): number {
  const left = numbersOf(a)
  const right = numbersOf(b)
  for (let at = 0; at < Math.max(left.length, right.length); at += 1) {
    const difference = (left[at] ?? 0) - (right[at] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

function numbersOf(version: string): number[] {
  return version.replace('.post', '.').split('.').map(Number)
}

/** null = it is one that is known. */
export function versionProblem(engine: string, version: string | undefined, known: KnownVersions): string | null {
  if (version === undefined) return null
  const wellFormed = /^\d{1,4}\.\d{1,4}\.\d{1,4}(\.post\d{1,3})?$/.test(version)
  if (wellFormed && compareVersions(version, known.oldest) >= 0 && compareVersions(version, known.newest) <= 0)
    return null
  return `engine.version: ${engine} is known from ${known.oldest} to ${known.newest}; seen: "${version.slice(0, 60)}".`
}
