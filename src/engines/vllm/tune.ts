/** A preset's wishes in vLLM's arguments. Pure. */
import type { Tuned, Tuning, TuningGround } from '../contract.tuning.ts'
import { capabilities } from './versions.ts'

/** With a small batch a request shares its steps with few others. */
const fewSequences = 16
const guessing = { method: 'ngram', num_speculative_tokens: 4, prompt_lookup_max: 4 }

export function tuneVllm(tuning: Tuning, ground: TuningGround): Tuned {
  const tuned: Tuned = { args: [], left: [] }
  if (tuning.batch === 'many') tuned.args.push(['--performance-mode', 'throughput'])
  if (tuning.batch === 'few') {
    tuned.args.push(['--performance-mode', 'interactivity'])
    tuned.sequences = fewSequences
  }
  if (tuning.guess && ground.adapters)
    tuned.left.push('Guessing ahead is left out: vLLM does not do it together with LoRA adapters.')
  else if (tuning.guess) tuned.args.push(['--speculative-config', JSON.stringify(guessing)])
  if (tuning.eightBit) eightBit(tuned, ground)
  return tuned
}

function eightBit(tuned: Tuned, { quantization, gpu, version }: TuningGround): void {
  if (quantization !== null)
    tuned.left.push(`Bringing the weights to 8 bits is left out: they are stored as ${quantization} already.`)
  else if (gpu === null) tuned.left.push('8 bits are left out: vLLM computes with them on GPUs only.')
  else tuned.args.push(['--quantization', capabilities(version).eightBitWeights], ['--kv-cache-dtype', 'fp8'])
}
