/** A pinned model as engines know it: where its files will be, and what has to be brought there first. Pure. */
import { join } from 'node:path'
import type { ModelFiles } from '../../engines/contract.ts'
import { snapshotPath } from './cache.ts'
import type { HubSource } from './pin.ts'

/** `simulated`: nobody reads them, so nothing is brought. The organisation is filled in by whoever orders a replica. */
export function hubFiles(modelId: string, source: HubSource, folder: string, simulated: boolean): ModelFiles {
  const { repo, sha, files, format, entry, sizeBytes, contextSize, shape } = source
  const path = join(snapshotPath(folder, source), entry)
  const quantization = format === 'safetensors' ? { quantization: shape?.quantization ?? null } : {}
  const known = { modelId, format, path, sizeBytes, contextSize, ...quantization }
  return simulated ? known : { ...known, remote: { orgId: '', repo, sha, files } }
}
