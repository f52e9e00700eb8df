/** What a deployment is doing, in our own words; each dialect translates (contract: phases, and each dialect's word). */
export const phases = [
  'queued',
  'starting',
  'serving',
  'scaling',
  'rolling',
  'degraded',
  'asleep',
  'waking',
  'stopping',
  'stopped',
  'failed',
  'deleted',
] as const
export type Phase = (typeof phases)[number]

/** What the gateway does with a request: answer, hold until a replica is ready, or refuse with that code. */
export type Answering = 'yes' | 'hold' | 'stopping' | 'stopped' | 'failed' | 'gone'

export const answering: Record<Phase, Answering> = {
  queued: 'hold',
  starting: 'hold',
  serving: 'yes',
  scaling: 'yes',
  rolling: 'yes',
  degraded: 'yes',
  asleep: 'hold',
  waking: 'hold',
  stopping: 'stopping',
  stopped: 'stopped',
  failed: 'failed',
  deleted: 'gone',
}

/** Why something is not serving (X2). `since` is ISO 8601; `retry_after` in seconds. */
export interface Reason {
  code: string
  message: string
  since: string
  retry_after?: number
}
