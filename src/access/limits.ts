/** How much may be asked of a deployment, or with a key. Pure. */

/** null = no limit. */
export interface Limits {
  /** Requests in any 60 seconds. */
  rpm: number | null
  /** Tokens, those of prompts among them, in any 60 seconds. */
  tpm: number | null
  /** Requests at once. */
  concurrency: number | null
}
/** Absent = as before. */
export type LimitsChange = { [Name in keyof Limits]?: Limits[Name] | undefined }

export const noLimits: Limits = { rpm: null, tpm: null, concurrency: null }

/** A request may name a priority from 0, the default, to this, unless its key bounds it lower. */
export const priorityMaximum = 4

const names = ['rpm', 'tpm', 'concurrency'] as const

/** As stored, where what is null may be absent. */
export function allLimits(stored: LimitsChange): Limits {
  const { rpm = null, tpm = null, concurrency = null } = stored
  return { rpm, tpm, concurrency }
}

/** As gateways get them: null when none is set, so that what is off costs one comparison. */
export function setLimits(stored: LimitsChange): Limits | null {
  const all = allLimits(stored)
  return names.every((name) => all[name] === null) ? null : all
}

/** With the change on top, and what it really changes. */
export function withLimits(before: Limits, change: LimitsChange): { limits: Limits; changed: (keyof Limits)[] } {
  const limits = { ...before }
  for (const name of names) if (change[name] !== undefined) limits[name] = change[name]
  return { limits, changed: names.filter((name) => limits[name] !== before[name]) }
}
