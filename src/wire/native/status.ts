/** The seed's five words for what a deployment is doing (contract: phases, and each dialect's word). */
import type { Phase } from '../../kernel/phase.ts'

export const nativeStatuses = ['provisioning', 'active', 'scaling', 'teardown', 'inactive'] as const
export type NativeStatus = (typeof nativeStatuses)[number]

/** A client that polls for `active` reaches it whenever requests would be answered. */
export const nativeStatus: Readonly<Record<Phase, NativeStatus>> = {
  queued: 'provisioning',
  starting: 'provisioning',
  serving: 'active',
  scaling: 'scaling',
  rolling: 'active',
  degraded: 'active',
  asleep: 'active',
  waking: 'active',
  stopping: 'teardown',
  stopped: 'inactive',
  failed: 'inactive',
  deleted: 'inactive',
}
