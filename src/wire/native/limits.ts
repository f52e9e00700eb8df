/** Limits on the native API: of deployments and of API keys, as sent and shown. */
import { z } from 'zod'
import { orNull } from './fields.ts'

const most = (maximum: number) => z.int().min(1).max(maximum)

/** Names and meanings, without null. */
const limited = {
  rpm: most(100_000_000).meta({ description: 'Requests in any 60 seconds.', example: 600 }),
  tpm: most(1_000_000_000).meta({ description: 'Tokens, prompts included, in any 60 seconds.', example: 200_000 }),
  concurrency: most(1_000_000).meta({ description: 'Requests at once; more wait a moment in line.', example: 50 }),
}

const wished = {
  rpm: orNull(limited.rpm).optional(),
  tpm: orNull(limited.tpm).optional(),
  concurrency: orNull(limited.concurrency).optional(),
}
export const changeLimits = z
  .strictObject(wished)
  .meta({ id: 'ChangeLimits', description: 'What is absent stays as it is; null: no limit.', example: { rpm: 600 } })
export type ChangeLimits = z.input<typeof changeLimits>

export const limits = z
  .object({ rpm: orNull(limited.rpm), tpm: orNull(limited.tpm), concurrency: orNull(limited.concurrency) })
  .meta({ id: 'Limits', description: 'null: no limit. Beyond one the answer is 429.' })
export type Limits = z.output<typeof limits>

export const priority = z.int().min(0).max(4).meta({
  description:
    'The highest `x-priority` that requests with this key may have, 0 to 4; a higher one counts as this. One more is twice the share of those who wait. Default 0.',
  example: 0,
})

const concurrencyLimit = limited.concurrency.meta({
  description: 'Requests at once; more wait a moment in line. The same as `limits.concurrency`.',
  example: 50,
})
export const changeSla = z
  .strictObject({ concurrency_limit: orNull(concurrencyLimit).optional() })
  .meta({ id: 'ChangeSla', example: { concurrency_limit: 50 } })
export type ChangeSla = z.input<typeof changeSla>

export const sla = z.object({ concurrency_limit: orNull(concurrencyLimit) }).meta({ id: 'Sla' })
export type Sla = z.output<typeof sla>

/** What a create says of limits, in either of its places. */
export const limitFields = {
  limits: changeLimits.optional(),
  sla: changeSla.optional(),
}

/** The place that both may name, said once. */
export const saysTwice = ({ limits: asked, sla: promised }: LimitFields): boolean =>
  asked?.concurrency !== undefined &&
  promised?.concurrency_limit !== undefined &&
  asked.concurrency !== promised.concurrency_limit

/** Said of the second. */
export const saidTwice = {
  path: ['sla', 'concurrency_limit'],
  error: 'is the same as limits.concurrency; give one of them',
}

interface LimitFields {
  limits?: ChangeLimits | undefined
  sla?: ChangeSla | undefined
}

/** What is absent stays absent. */
export function limitsFrom({ limits: asked, sla: promised }: LimitFields): ChangeLimits | undefined {
  if (asked === undefined && promised === undefined) return undefined
  return { ...asked, ...slaFrom(promised ?? {}) }
}

export function slaFrom({ concurrency_limit }: ChangeSla): ChangeLimits {
  return concurrency_limit === undefined ? {} : { concurrency: concurrency_limit }
}

export function renderSla({ concurrency }: Limits): Sla {
  return { concurrency_limit: concurrency }
}
