/** `x-priority`: how large a share of those who wait a request asks for. Pure. */
import { priorityMaximum } from '../../access/limits.ts'
import { Fault } from '../../kernel/fault.ts'

/** At most what the key may; more than that is no error, so that one client runs with any key. */
export function priorityOf(header: string | string[], most: number): number {
  if (typeof header !== 'string' || !/^[0-9]{1,3}$/.test(header.trim()))
    throw new Fault('invalid_request', `"x-priority" must be a whole number from 0 to ${priorityMaximum}.`, {
      detail: { param: 'x-priority' },
    })
  return Math.min(Number(header), most, priorityMaximum)
}
