/** The worker's command line. Pure; every problem is one sentence. */
import { parseArgs } from 'node:util'

export interface WorkerOptions {
  /** Path of the GGUF file. */
  model: string
  host: string
  /** 0 = any free port. */
  port: number
  servedName: string
  /** Tokens per sequence; 0 = the model's own. */
  contextTokens: number
  sequences: number
  /** 0 = one less than the machine has cores for arithmetic. */
  threads: number
  /** Adapters, and mixtures of adapters, that it computes with at once. */
  adapterSets: number
  /** How keys and values of the context are stored; null = as is usual for the model. */
  cacheTypeK: CacheType | null
  cacheTypeV: CacheType | null
  /** End when stdin closes: the keeper that holds its other end is gone. */
  dieWithStdin: boolean
}

export const cacheTypes = ['f32', 'f16', 'q8_0', 'q4_0'] as const
export type CacheType = (typeof cacheTypes)[number]

export const sequencesDefault = 4
export const sequencesMaximum = 64
export const adapterSetsDefault = 8
export const adapterSetsMaximum = 256
export const contextTokensMaximum = 4_194_304
export const contextTokensMinimum = 64

const flags = {
  model: { type: 'string' },
  host: { type: 'string', default: '127.0.0.1' },
  port: { type: 'string' },
  'served-name': { type: 'string' },
  context: { type: 'string', default: '0' },
  sequences: { type: 'string', default: String(sequencesDefault) },
  threads: { type: 'string', default: '0' },
  'adapter-sets': { type: 'string', default: String(adapterSetsDefault) },
  'cache-type-k': { type: 'string' },
  'cache-type-v': { type: 'string' },
  'die-with-stdin': { type: 'boolean', default: false },
} as const

/** Throws Error with one sentence. */
export function readArguments(argv: readonly string[]): WorkerOptions {
  const { values } = parseArgs({ args: [...argv], options: flags, strict: true })
  const contextTokens = whole('--context', values.context, 0, contextTokensMaximum)
  if (contextTokens !== 0 && contextTokens < contextTokensMinimum)
    throw new Error(`--context must be 0 (the model's own) or at least ${contextTokensMinimum}`)
  return {
    model: needed('--model', values.model),
    host: values.host,
    port: whole('--port', needed('--port', values.port), 0, 65_535),
    servedName: needed('--served-name', values['served-name']),
    contextTokens,
    sequences: whole('--sequences', values.sequences, 1, sequencesMaximum),
    threads: whole('--threads', values.threads, 0, 1024),
    adapterSets: whole('--adapter-sets', values['adapter-sets'], 0, adapterSetsMaximum),
    cacheTypeK: cacheType('--cache-type-k', values['cache-type-k']),
    cacheTypeV: cacheType('--cache-type-v', values['cache-type-v']),
    dieWithStdin: values['die-with-stdin'],
  }
}

function cacheType(flag: string, text: string | undefined): CacheType | null {
  if (text === undefined) return null
  const known = cacheTypes.find((type) => type === text)
  if (known === undefined) throw new Error(`${flag} must be one of ${cacheTypes.join(', ')}; "${text}" was given`)
  return known
}

function needed(flag: string, value: string | undefined): string {
  if (value === undefined || value === '') throw new Error(`${flag} is missing`)
  return value
}

function whole(flag: string, text: string, minimum: number, maximum: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= minimum && value <= maximum))
    throw new Error(`${flag} must be a whole number from ${minimum} to ${maximum}; "${text}" was given`)
  return value
}
