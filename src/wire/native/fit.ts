/** What the fit check says, on the native API. */
import { z } from 'zod'

export const verdicts = ['fits', 'risky', 'does_not_fit'] as const

const perGpu = (what: string) => z.number().meta({ description: `GiB on each GPU ${what}.` })

export const fit = z
  .object({
    verdict: z.enum(verdicts),
    why: z.string(),
    gpus: z.int().meta({
      description:
        'GPUs of one replica. 0: a CPU; what is said of each GPU is said of the machine, which all its replicas share.',
    }),
    weights_gib: perGpu('for its weights'),
    overhead_gib: perGpu('for the engine itself'),
    cache_gib: perGpu('left for keys and values; below 0 when not even the weights fit'),
    cache_bytes_per_token: z.number().meta({ description: 'On each GPU.' }),
    context: z.int().meta({
      description:
        'Tokens per sequence that it would be started with: as asked, else as many as it knows or there is room for.',
    }),
    largest_context: z.int().meta({ description: 'Tokens of the longest sequence that fits.' }),
    concurrency: z.int().meta({ description: 'Sequences of `context` tokens at once.' }),
  })
  .meta({ id: 'Fit' })
export type Fit = z.output<typeof fit>

export interface FitShape {
  verdict: (typeof verdicts)[number]
  why: string
  gpus: number
  weightsGib: number
  overheadGib: number
  cacheGib: number
  cachePerToken: number
  context: number
  largestContext: number
  concurrency: number
}

export function renderFit(shape: FitShape): Fit {
  return {
    verdict: shape.verdict,
    why: shape.why,
    gpus: shape.gpus,
    weights_gib: tenths(shape.weightsGib),
    overhead_gib: tenths(shape.overheadGib),
    cache_gib: tenths(shape.cacheGib),
    cache_bytes_per_token: Math.round(shape.cachePerToken),
    context: shape.context,
    largest_context: shape.largestContext,
    concurrency: shape.concurrency,
  }
}

function tenths(gib: number): number {
  return Math.round(gib * 10) / 10
}
