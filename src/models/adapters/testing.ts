/** For tests: LoRA adapters as PEFT writes them, whole or damaged. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Peft {
  /** An object or a text; null = there is none. */
  config?: object | string | null
  /** Name → shape. */
  tensors?: Record<string, number[]>
  /** The file ends too soon. */
  cut?: boolean
}

/** Both halves of one matrix. */
export const loraPair = (name: string, inputs: number, outputs: number, rank = 8): Record<string, number[]> => ({
  [`${name}.lora_A.weight`]: [rank, inputs],
  [`${name}.lora_B.weight`]: [outputs, rank],
})

/** Queries of the first layer. */
export const firstQueries = 'base_model.model.model.layers.0.self_attn.q_proj'

/** The folder's files; of a model 64 wide unless `tensors` say otherwise. */
export function peftFiles({ config, tensors = loraPair(firstQueries, 64, 64), cut = false }: Peft = {}) {
  const usual = { peft_type: 'LORA', r: 8, base_model_name_or_path: 'acme/Tiny-Chat' }
  const said = config === undefined ? usual : config
  let end = 0
  const head: Record<string, unknown> = { __metadata__: { format: 'pt' } }
  for (const [name, shape] of Object.entries(tensors)) {
    const size = shape.reduce((product, n) => product * n, 2)
    head[name] = { dtype: 'F16', shape, data_offsets: [end, end + size] }
    end += size
  }
  const text = Buffer.from(JSON.stringify(head))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  return {
    ...(said === null ? {} : { 'adapter_config.json': typeof said === 'string' ? said : JSON.stringify(said) }),
    'adapter_model.safetensors': Buffer.concat([length, text, Buffer.alloc(cut ? end - 1 : end)]),
  }
}

/** Makes `folder`, which it returns. */
export function writePeft(folder: string, peft: Peft = {}): string {
  mkdirSync(folder, { recursive: true, mode: 0o755 })
  for (const [name, bytes] of Object.entries(peftFiles(peft))) writeFileSync(join(folder, name), bytes, { mode: 0o644 })
  return folder
}
