/** A PEFT adapter of the starter as a GGUF file: the same numbers, in ggml's names and order. */
import { type GgufTensor, ggufFile } from './gguf-file.ts'
import { ggmlName, isTurned, turnedRows } from './names.ts'
import type { Weights } from './safetensors-file.ts'

export interface AdapterConfig {
  base_model_name_or_path: string
  r: number
  lora_alpha: number
}

export function adapterFile(name: string, config: AdapterConfig, weights: ReadonlyMap<string, Weights>): Buffer {
  const [organization = '', base = ''] = config.base_model_name_or_path.split('/')
  return ggufFile(
    {
      'general.architecture': { type: 'text', value: 'llama' },
      'general.type': { type: 'text', value: 'adapter' },
      'general.name': { type: 'text', value: `Paddock starter: ${name}` },
      'general.license': { type: 'text', value: 'apache-2.0' },
      'general.base_model.count': { type: 'u32', value: 1 },
      'general.base_model.0.name': { type: 'text', value: base },
      'general.base_model.0.organization': { type: 'text', value: organization },
      'general.base_model.0.repo_url': { type: 'text', value: config.base_model_name_or_path },
      'adapter.type': { type: 'text', value: 'lora' },
      'adapter.lora.alpha': { type: 'f32', value: config.lora_alpha },
    },
    [...weights].map(tensor),
  )
}

/** "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight" → "blk.0.ffn_up.weight.lora_a". */
function tensor([name, weights]: [string, Weights]): GgufTensor {
  const [, part, side] = /^base_model\.model\.(.+)\.lora_([AB])\.weight$/.exec(name) ?? []
  if (part === undefined || side === undefined) throw new Error(`${name} is no part of a LoRA adapter`)
  const { shape, data } = side === 'B' && isTurned(part) ? turnedRows(weights) : weights
  const ggml = `${ggmlName(part)}.weight.lora_${side.toLowerCase()}`
  return { name: ggml, shape: [...shape].reverse(), data, type: 'F16' }
}
