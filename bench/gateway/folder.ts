import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** On the disk that this machine has for such things; removed at the end. */
export function temporaryFolder(ends: (() => Promise<void>)[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'paddock-bench-'))
  ends.push(async () => rmSync(folder, { recursive: true, force: true }))
  return folder
}
