/** The tables on disk, so that a gateway can start while the database is away. Hashes of keys only, never keys. */
import type { KeyringEntry } from '../access/keyring.ts'
import type { Route } from '../deployments/routes.ts'
import type { Clock } from '../runtime/clock.ts'
import { readJsonIfThere, replaceFile } from '../runtime/files.ts'

export interface Snapshot {
  keyring: KeyringEntry[]
  routes: Route[]
  /** ms since epoch. */
  savedAt: number
}

const format = 1

/** Routes that are written in one go: requests go on in between. */
const together = 200

/** Replaces the file whole, readable by its owner only (routes hold the engines' keys). */
export async function saveSnapshot(path: string, { routes, ...rest }: Snapshot, clock: Clock): Promise<void> {
  const texts: string[] = []
  for (let from = 0; from < routes.length; from += together) {
    const text = JSON.stringify(routes.slice(from, from + together))
    texts.push(text.slice(1, -1))
    await clock.sleep(0)
  }
  const head = JSON.stringify({ format, ...rest }).slice(0, -1)
  await replaceFile(path, `${head},"routes":[${texts.join()}]}`, 0o600)
}

/** null when there is none that can be used: missing, damaged, of another format, or older than `maxStaleSeconds`. */
export function loadSnapshot(path: string, now: number, maxStaleSeconds: number): Snapshot | null {
  const read = readJsonIfThere<Partial<Snapshot> & { format?: number }>(path)
  if (read === null || typeof read !== 'object' || read.format !== format) return null
  const { keyring, routes, savedAt } = read
  if (!Array.isArray(keyring) || !Array.isArray(routes) || typeof savedAt !== 'number') return null
  if (now - savedAt > maxStaleSeconds * 1000) return null
  return { keyring, routes, savedAt }
}
