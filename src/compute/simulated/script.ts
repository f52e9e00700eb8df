/** What simulated hardware there is and what is to go wrong with it, as data. Times in seconds. */
import { readFileSync } from 'node:fs'
import { z } from 'zod'

const seconds = z.number().min(0).max(1e9)
/** After the beginning of the simulation, or after it was added; `for` absent = for ever. */
const from = { from: seconds.default(0) }
const during = { ...from, for: seconds.optional() }
const where = { gpu_type: z.string().optional(), region: z.string().optional() }
/** How likely, and how often at most. */
const odds = { chance: z.number().gt(0).max(1).default(1), times: z.int().min(1).optional() }
const whom = { ...where, replica_id: z.string().optional(), count: z.int().min(1).max(1_000_000).default(1) }
const ending = { exit_code: z.int().min(0).max(255).default(1), say: z.array(z.string().max(1000)).max(50).default([]) }
export const calls = ['offers', 'create', 'observe', 'list', 'delete', 'logs'] as const
const call = z.enum(calls).optional()

export const trouble = z.discriminatedUnion('what', [
  // While they last
  z.strictObject({ what: z.literal('shortage'), ...during, ...where, units: z.int().min(0).default(0) }),
  z.strictObject({ what: z.literal('slow_start'), ...during, ...where, ...odds, factor: z.number().gt(0).max(1e6) }),
  z.strictObject({
    what: z.literal('failing_start'),
    ...during,
    ...where,
    ...odds,
    ...ending,
    at: z.enum(['load', 'warmup']).default('load'),
  }),
  z.strictObject({
    what: z.literal('short_life'),
    ...during,
    ...where,
    ...odds,
    ...ending,
    after_seconds: seconds,
    how: z.enum(['crash', 'hang', 'vanish']).default('crash'),
  }),
  z.strictObject({ what: z.literal('lost_reply'), ...during, ...odds, call: z.enum(['create', 'delete']).optional() }),
  z.strictObject({ what: z.literal('slow_reply'), ...during, ...odds, call, seconds }),
  z.strictObject({ what: z.literal('unavailable'), ...during, ...odds, call }),
  z.strictObject({ what: z.literal('create_twice'), ...during, ...odds, after_seconds: seconds }),
  // In one moment
  z.strictObject({ what: z.literal('crash'), ...from, ...whom, ...ending }),
  z.strictObject({ what: z.literal('hang'), ...during, ...whom }),
  z.strictObject({ what: z.literal('vanish'), ...from, ...whom }),
  z.strictObject({ what: z.literal('phantom'), ...from, ...where, count: z.int().min(1).max(1000).default(1) }),
])
export type Trouble = z.output<typeof trouble>
export type TroubleInput = z.input<typeof trouble>

export const script = z.strictObject({
  /** The same seed and the same calls give the same simulation. */
  seed: z.int().default(1),
  /** Units by "type" or "type/region"; the rest as on the emulated fleet. */
  units: z.record(z.string(), z.int().min(0).max(10_000_000)).default({}),
  start: z
    .strictObject({ hardware_seconds: seconds.default(0.5), files_seconds: seconds.default(0.5) })
    .default({ hardware_seconds: 0.5, files_seconds: 0.5 }),
  /** Starts take up to this share longer or shorter than they should. */
  jitter: z.number().min(0).max(1).default(0),
  /** A port for each engine, which closes when it ends; or one for all, for ten thousands of them. */
  ports: z.enum(['shared', 'each']).default('each'),
  /** For every engine; what a deployment adds itself counts more. */
  engine_args: z.array(z.string().max(1000)).max(100).default([]),
  troubles: z.array(trouble).max(1000).default([]),
})
export type Script = z.output<typeof script>
export type ScriptInput = z.input<typeof script>

export function makeScript(input: ScriptInput = {}): Script {
  return script.parse(input)
}

/** The script in this file; '' = nothing goes wrong. Throws an Error with one sentence for each problem. */
export function readScript(path: string): Script {
  if (path === '') return makeScript()
  let data: unknown
  try {
    data = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new Error(`compute.simulated.script: ${path} cannot be read as JSON: ${(error as Error).message}`)
  }
  const parsed = script.safeParse(data)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'it'}: ${issue.message}`)
  throw new Error(`compute.simulated.script: ${path} is no script: ${problems.join('; ')}`)
}
