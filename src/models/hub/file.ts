/** A file of a repository as the Hub lists it. */
import type { RemoteFile } from '../../engines/contract.ts'

export type { RemoteFile } from '../../engines/contract.ts'

export function sumBytes(files: readonly Pick<RemoteFile, 'sizeBytes'>[]): number {
  return files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
}

const units = ['kB', 'MB', 'GB', 'TB']

/** 4.5 GB */
export function bytesText(bytes: number): string {
  let value = bytes
  let unit = 'B'
  for (const next of units) {
    if (value < 999.5) break
    value /= 1000
    unit = next
  }
  return `${unit === 'B' || value >= 99.5 ? Math.round(value) : value.toFixed(1)} ${unit}`
}
