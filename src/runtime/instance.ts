/** Which Paddock a data folder belongs to: a short id that never changes, for names outside the folder. */
import { randomBytes } from 'node:crypto'
import { linkSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readIfThere } from './files.ts'

/**
 * The instance id of a data folder, 16 hex digits; made at the first call, also when several processes call at once.
 * Throws when `instance.json` is there but damaged: a new id would lose what is kept under the old one.
 */
export function instanceId(dataFolder: string): string {
  const path = join(dataFolder, 'instance.json')
  const known = readIfThere(path)
  if (known !== null) return parse(path, known)
  mkdirSync(dataFolder, { recursive: true, mode: 0o700 })
  const partial = `${path}.${randomBytes(6).toString('hex')}.tmp`
  writeFileSync(partial, `${JSON.stringify({ id: randomBytes(8).toString('hex') })}\n`, { mode: 0o600, flush: true })
  try {
    linkSync(partial, path)
  } catch (error) {
    // Another process was first; its id counts.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    rmSync(partial, { force: true })
  }
  return parse(path, readIfThere(path) ?? '')
}

function parse(path: string, text: string): string {
  try {
    const { id } = JSON.parse(text) as { id?: unknown }
    if (typeof id === 'string' && /^[0-9a-f]{16}$/.test(id)) return id
  } catch {
    // said below
  }
  throw new Error(`${path} is damaged. Restore it from a backup, or use another data folder.`)
}
