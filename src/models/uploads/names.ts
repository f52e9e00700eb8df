/** How models that organisations bring are named: `byom:<name>` wherever a `model_id` or `model` is. Pure. */
import { Fault } from '../../kernel/fault.ts'

export const uploadPrefix = 'byom:'

const pattern = /^[a-z0-9][a-z0-9._-]{0,62}$/
const rule = '1 to 63 lower-case letters, digits, dots, dashes and underscores, the first a letter or digit'

export function isUploadName(modelId: string): boolean {
  return modelId.startsWith(uploadPrefix)
}

/** Throws Fault `invalid_request`. */
export function checkName(name: string): string {
  if (pattern.test(name)) return name
  const shown = JSON.stringify(name.slice(0, 80))
  throw new Fault('invalid_request', `name: ${shown} is not a name for a model; it must be ${rule}.`, {
    detail: { fields: [{ field: 'name', problem: `must be ${rule}` }] },
  })
}
