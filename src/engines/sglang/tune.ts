/** A preset's wishes in SGLang's arguments. Pure. */
import type { Tuned, Tuning, TuningGround } from '../contract.tuning.ts'

const fewSequences = 16
/** Tokens of prompts that one step takes: more of them at once fill a large GPU better. */
const manyPrefillTokens = '16384'

export function tuneSglang(tuning: Tuning, ground: TuningGround): Tuned {
  const tuned: Tuned = { args: [], left: [] }
  if (tuning.batch === 'many')
    tuned.args.push(['--chunked-prefill-size', manyPrefillTokens], ['--schedule-policy', 'lpm'])
  if (tuning.batch === 'few') tuned.sequences = fewSequences
  if (tuning.guess && ground.gpu !== 'nvidia')
    tuned.left.push('Guessing ahead is left out: SGLang does it by the prompt on NVIDIA GPUs only.')
  else if (tuning.guess) tuned.args.push(['--speculative-algorithm', 'NGRAM'])
  if (tuning.eightBit) eightBit(tuned, ground)
  return tuned
}

function eightBit(tuned: Tuned, { quantization, gpu }: TuningGround): void {
  if (quantization !== null)
    tuned.left.push(`Bringing the weights to 8 bits is left out: they are stored as ${quantization} already.`)
  else if (gpu === null) tuned.left.push('8 bits are left out: SGLang computes with them on GPUs only.')
  else tuned.args.push(['--quantization', 'fp8'], ['--kv-cache-dtype', 'fp8_e4m3'])
}
