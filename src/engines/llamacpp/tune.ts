/** A preset's wishes in llama.cpp's arguments. Pure. */
import type { Tuned, Tuning } from '../contract.tuning.ts'

const sequences = { many: 8, few: 2 } as const
const weightsAsStored =
  'Bringing the weights to 8 bits is left out: llama.cpp takes those of a GGUF file as they are stored.'

/** llama-server. Its weights are as their file has them; the cache is its own to choose. */
export function tuneServer(tuning: Tuning): Tuned {
  const tuned: Tuned = { args: [], left: [] }
  if (tuning.batch !== undefined) tuned.sequences = sequences[tuning.batch]
  if (tuning.batch === 'many') tuned.args.push(['--batch-size', '4096'], ['--ubatch-size', '1024'])
  if (tuning.guess) tuned.args.push(['--spec-type', 'ngram-mod'])
  if (tuning.eightBit) {
    // A cache of few bits needs the other way of computing attention.
    tuned.args.push(['--cache-type-k', 'q8_0'], ['--cache-type-v', 'q8_0'], ['--flash-attn', 'on'])
    tuned.left.push(weightsAsStored)
  }
  return tuned
}

/** The engine that ships with us. */
export function tuneEmbedded(tuning: Tuning): Tuned {
  const tuned: Tuned = { args: [], left: [] }
  if (tuning.batch !== undefined) tuned.sequences = sequences[tuning.batch]
  if (tuning.guess) tuned.left.push('Guessing ahead is left out: the embedded engine does not do it.')
  if (tuning.eightBit) {
    tuned.args.push(['--cache-type-k', 'q8_0'], ['--cache-type-v', 'q8_0'])
    tuned.left.push(weightsAsStored)
  }
  return tuned
}
