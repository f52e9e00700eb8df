/** The one shape of every error of the native API. */
import { z } from 'zod'
import type { Fault } from '../../kernel/fault.ts'

export const errorBody = z
  .object({
    error: z.object({
      code: z.string().meta({ description: 'Stable; see /docs/errors.', example: 'invalid_request' }),
      message: z.string().meta({ description: 'What was wrong.' }),
      action: z.string().meta({ description: 'What to do.' }),
      detail: z.unknown().optional().meta({ description: 'Machine-readable extra, depending on the code.' }),
      request_id: z.string().meta({ description: 'Also the header X-Request-Id. Give it to the operator.' }),
    }),
  })
  .meta({ id: 'Error' })
export type ErrorBody = z.output<typeof errorBody>

export function renderError(fault: Fault, requestId: string): ErrorBody {
  const { code, message, action, detail } = fault
  return { error: { code, message, action, ...(detail === undefined ? {} : { detail }), request_id: requestId } }
}
