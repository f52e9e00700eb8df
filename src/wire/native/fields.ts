/** Building blocks of the native schemas. Answers are open objects (clients tolerate more), request bodies are strict. */
import { z } from 'zod'

export const deploymentNameRule = 'must be 1 to 63 of a-z, 0-9 and "-"'
export const deploymentName = z
  .string()
  .regex(/^[a-z0-9-]{1,63}$/, { error: deploymentNameRule })
  .meta({
    description: 'Unique in the organisation among deployments that are not deleted.',
    example: 'prod-llama-70b',
  })

/** Text that a person typed and others will read: no control characters, nothing that Postgres or JSON cannot hold. */
export function label(maximum: number) {
  return z
    .string()
    .min(1)
    .max(maximum)
    .refine((text) => text.isWellFormed() && !/\p{Cc}/u.test(text), {
      error: 'must be text without control characters',
    })
    .refine((text) => text.trim() !== '', { error: 'must not be blank' })
}

/** Text for machines, such as an argument or a path: anything but NUL and broken surrogates. */
export function plainText(maximum: number) {
  return z
    .string()
    .min(1)
    .max(maximum)
    .refine((text) => text.isWellFormed() && !text.includes('\0'), { error: 'must be well-formed text without NUL' })
}

export const instant = z.iso.datetime().meta({ description: 'ISO 8601, UTC.', example: '2026-11-21T09:30:00.000Z' })
/** A moment that a client names, with its offset. */
export const moment = z.iso
  .datetime({ offset: true })
  .meta({ example: '2026-11-21T09:30:00Z' })
  .transform((text) => new Date(text))
export const usd = z.number().nonnegative().meta({ description: 'US dollars.', example: 4.41 })

/** A named schema or null, written so that the reference shows both. */
export function orNull<S extends z.ZodType>(schema: S) {
  return z.union([schema, z.null()])
}

/** The one shape of every list. */
export function listOf<S extends z.ZodType>(item: S) {
  return z.object({
    data: z.array(item),
    next_cursor: orNull(z.string()).meta({ description: 'Pass as ?cursor= for the next page; null on the last one.' }),
  })
}
export interface ListOf<T> {
  data: T[]
  next_cursor: string | null
}

export const pageSizeMaximum = 200
export const pageSizeDefault = 50
/** Query fields of every list that has pages. */
export const pageQuery = {
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(pageSizeMaximum)
    .default(pageSizeDefault)
    .meta({ description: 'Items per page.' }),
  cursor: z.string().min(1).max(1000).optional().meta({ description: '`next_cursor` of the page before.' }),
}

/** "true" or "false" in a query string. */
export const queryFlag = z
  .enum(['true', 'false'])
  .default('false')
  .transform((text) => text === 'true')

export function iso(date: Date): string
export function iso(date: Date | null): string | null
export function iso(date: Date | null): string | null {
  return date === null ? null : date.toISOString()
}
