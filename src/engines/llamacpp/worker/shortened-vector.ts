/**
 * Vectors cut to fewer numbers. Sense remains only where the model was trained for it (Matryoshka), which a GGUF file does
 * not say: known by the families' names. Pure.
 */
import { unsupported, wrong } from './request.ts'

/** By their makers' model cards. */
const families = [
  'embeddinggemma',
  'qwen3-embedding',
  'nomic-embed-text-v1.5',
  'nomic-embed-text-v2',
  'mxbai-embed-large',
  'mxbai-embed-2d-large',
  'snowflake-arctic-embed-m-v1.5',
  'snowflake-arctic-embed-m-v2',
  'snowflake-arctic-embed-l-v2',
  'jina-embeddings-v3',
  'jina-embeddings-v4',
].map(plain)

/** Whether a model of these names (its own, its base model's) was trained for shorter vectors. */
export function canShorten(names: readonly string[]): boolean {
  return names.some((name) => families.some((family) => plain(name).includes(family)))
}

function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')
}

/** The numbers that a vector of `whole` shall have. Throws Faults `invalid_request` and `engine_unsupported`. */
export function lengthOf(dimensions: number | null, whole: number, shortens: boolean): number {
  if (dimensions === null || dimensions === whole) return whole
  if (dimensions > whole) throw wrong('dimensions', `dimensions must be at most ${whole}, which this model makes.`)
  if (shortens) return dimensions
  throw unsupported(
    'dimensions',
    `This model was not trained for shorter vectors (Matryoshka): leave dimensions out, or ask for all ${whole}.`,
  )
}

/** The first `count` numbers, as a vector of length 1. */
export function shortened(vector: Float64Array, count: number): Float32Array {
  const part = vector.subarray(0, count)
  let squares = 0
  for (const one of part) squares += one * one
  const length = Math.sqrt(squares)
  return Float32Array.from(part, (one) => (length > 0 ? one / length : 0))
}
