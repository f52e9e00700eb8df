/** An uploaded model as others see it. Pure. */
import type { UploadFacts, UploadRow, UploadStatus } from './store.ts'

export interface UploadView {
  id: string
  /** null until the form has named it. */
  name: string | null
  status: UploadStatus
  reason: UploadRow['reason']
  /** Of the file, or the most that may come. */
  sizeBytes: number
  receivedBytes: number
  sha256: string | null
  facts: UploadFacts | null
  deploymentId: string | null
  roll: UploadRow['roll']
  createdAt: Date
  changedAt: Date
}

export function viewOf(row: UploadRow): UploadView {
  return {
    id: row.id,
    name: row.name,
    status: row.status,
    reason: row.reason,
    sizeBytes: Number(row.size_bytes),
    receivedBytes: Number(row.received_bytes),
    sha256: row.sha256,
    facts: row.facts,
    deploymentId: row.deployment_id,
    roll: row.roll,
    createdAt: row.created_at,
    changedAt: row.touched_at,
  }
}
