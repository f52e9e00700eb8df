/** Every type of event and what its data holds. One append-only log, written in the transaction of what it tells. */
export interface EventData {
  'deployment.created': { name: string; model_id: string; by: string }
  'deployment.phase': { from: string; to: string; code?: string; message?: string }
  'deployment.delete_asked': { by: string }
  'deployment.failed': { code: string; message: string; last_lines: string[] }
  'deployment.changed': { revision: number; by: string; changed: string[] }
  'deployment.stop_asked': { by: string }
  'deployment.start_asked': { by: string }
  /** Its schedule would start it again, and cannot yet. */
  'deployment.start_refused': { why: string }
  'deployment.restart_asked': { by: string; revision: number }
  'deployment.scaling_changed': { by: string; changed: string[] }
  'deployment.scaled': { from: number; to: number; cause: string; why: string }
  'deployment.schedule_changed': { by: string; windows: number }
  /** A window of its schedule began or ended; `says` what holds from now on. */
  'deployment.schedule_turned': {
    says: 'scale' | 'sleep' | 'stop' | 'nothing'
    /** Place in the list. */
    window: number | null
    min_replicas?: number
    max_replicas?: number
    until: string | null
  }
  'deployment.lease_changed': { by: string; expires_at: string | null }
  /** Its lease will end soon. */
  'deployment.expiring': { expires_at: string }
  'deployment.expired': { expires_at: string }
  'deployment.preset_applied': { by: string; preset: string; changed: string[] }
  'revision.failed': { revision: number; why: string }
  'revision.rolled_back': { from: number; to: number; by: string }
  'replica.planned': { replica_id: string; gpu_type: string; gpu_count: number; region: string }
  'replica.ready': { replica_id: string; start_ms: number; phases: Record<string, number> }
  'replica.draining': { replica_id: string }
  'replica.ended': { replica_id: string; why: string; code: number | null; signal: string | null; last_lines: string[] }
  'replica.gone': { replica_id: string }
  'replica.refused': { replica_id: string; why: string }
  'replica.orphan_removed': { replica_id: string }
  'key.created': { key_id: string; name: string; by: string }
  'key.revoked': { key_id: string; by: string }
  'org.created': { name: string }
}
export type EventType = keyof EventData

export interface StoredEvent {
  seq: number
  id: string
  type: EventType
  at: Date
  data: Record<string, unknown>
}
