/** A LoRA adapter as PEFT has it: a folder with adapter_config.json and adapter_model.safetensors. */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Fault } from '../../kernel/fault.ts'
import { type AdapterFile, type Change, headBytesMaximum, type Read, unreadable, withFile } from './file.ts'

export const configBytesMaximum = 1024 * 1024

type Shapes = Map<string, readonly number[]>

/** Throws Faults `adapter_unreadable` and `adapter_not_supported`. */
export function readPeftAdapter(path: string): AdapterFile {
  const config = readConfig(join(path, 'adapter_config.json'))
  return withPeftFile(join(path, 'adapter_model.safetensors'), (read, sizeBytes) =>
    peftAdapter(path, config, read, sizeBytes),
  )
}

/** Of the text of its config, and the head of its weights. */
export function peftAdapter(path: string, configText: string, read: Read, sizeBytes: number): AdapterFile {
  const config = parseConfig(configText)
  refuseUnsupported(config)
  const { changes, rank } = changesOf(readShapes(read, sizeBytes))
  const base = config.base_model_name_or_path
  const bases = typeof base === 'string' && base !== '' ? [base] : []
  return { format: 'peft', path, sizeBytes, rank, bases, architecture: null, changes }
}

function readConfig(path: string): string {
  try {
    if (statSync(path).size > configBytesMaximum) throw unreadable('its adapter_config.json is too large')
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Fault) throw error
    throw unreadable('there is no adapter_config.json in it')
  }
}

function parseConfig(text: string): Record<string, unknown> {
  try {
    const config: unknown = JSON.parse(text)
    if (typeof config === 'object' && config !== null && !Array.isArray(config))
      return config as Record<string, unknown>
  } catch {
    // Said below.
  }
  throw unreadable('its adapter_config.json is not a JSON object')
}

/** What vLLM and SGLang refuse at the load, or quietly leave out. */
function refuseUnsupported(config: Record<string, unknown>): void {
  const reason =
    config.peft_type !== 'LORA'
      ? `peft_type is ${JSON.stringify(config.peft_type ?? null)}, not "LORA"`
      : config.use_dora === true
        ? 'it is a DoRA adapter (use_dora)'
        : config.bias !== undefined && config.bias !== null && config.bias !== 'none'
          ? `it trains biases (bias: ${JSON.stringify(config.bias)})`
          : Array.isArray(config.modules_to_save) && config.modules_to_save.length > 0
            ? 'it brings whole modules of its own (modules_to_save)'
            : null
  if (reason === null) return
  throw new Fault('adapter_not_supported', `Engines do not take this adapter: ${reason}.`, { detail: { reason } })
}

/** Of a safetensors file: eight bytes of length, then JSON. */
function readShapes(read: Read, size: number): Shapes {
  const length = safetensorsHead(size < 8 ? nothing : read(0, 8), size)
  if (length === null) throw unreadable('its adapter_model.safetensors has no head')
  let head: unknown
  try {
    head = JSON.parse(read(8, length).toString('utf8'))
  } catch {
    throw unreadable('the head of its adapter_model.safetensors is not JSON')
  }
  return shapesIn(head, BigInt(size - 8 - length))
}

const nothing = Buffer.alloc(0)

/** Bytes of the head after these first eight of a file of that size; null = there is none that could be read. */
export function safetensorsHead(first: Buffer, sizeBytes: number): number | null {
  const length = first.length < 8 ? 0n : first.readBigUInt64LE()
  return length < 2n || length > BigInt(Math.min(headBytesMaximum, sizeBytes - 8)) ? null : Number(length)
}

function withPeftFile<T>(path: string, use: (read: Read, size: number) => T): T {
  try {
    return withFile(path, use)
  } catch (error) {
    if (error instanceof Fault) throw error
    throw unreadable('there is no adapter_model.safetensors in it')
  }
}

function shapesIn(head: unknown, dataBytes: bigint): Shapes {
  const shapes: Shapes = new Map()
  for (const [name, entry] of Object.entries((head ?? {}) as Record<string, unknown>)) {
    if (name === '__metadata__') continue
    const { shape, data_offsets: offsets } = (entry ?? {}) as { shape?: unknown; data_offsets?: unknown }
    const isShape = Array.isArray(shape) && shape.every((n) => Number.isSafeInteger(n) && n >= 0)
    if (!isShape || !Array.isArray(offsets)) throw unreadable(`its tensor ${JSON.stringify(name)} is not described`)
    if (!(BigInt(Number(offsets[1]) || 0) <= dataBytes)) throw unreadable('it is cut off')
    shapes.set(name, shape as number[])
  }
  return shapes
}

function changesOf(shapes: Shapes): { changes: Change[]; rank: number } {
  const changes: Change[] = []
  let rank = 0
  for (const [name, shape] of shapes) {
    const [, of, half] = /^(?:base_model\.model\.)?(.*)\.lora_(A|B)(?:\.\w+)?\.weight$/.exec(name) ?? []
    if (of === undefined) throw unreadable(`its tensor ${JSON.stringify(name)} is none that engines know of LoRA`)
    const other = shapes.get(name.replace(/\.lora_[AB]/, half === 'A' ? '.lora_B' : '.lora_A'))
    if (other === undefined) throw unreadable(`its tensor ${JSON.stringify(name)} has no counterpart`)
    if (half === 'B') continue
    if (shape[0] !== other[1]) throw unreadable(`the two halves of ${JSON.stringify(of)} do not fit each other`)
    rank = Math.max(rank, shape[0] ?? 0)
    changes.push({ module: moduleOf(of), inputs: shape[1] ?? 0, outputs: other[0] ?? 0 })
  }
  if (changes.length === 0) throw unreadable('it changes nothing')
  return { changes, rank }
}

/** A Llama's matrices in ggml's words. */
export const ggmlModules: Readonly<Record<string, string>> = {
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
}

/** In llama.cpp's words where it has them. */
function moduleOf(path: string): string {
  const [, layer, part] = /layers\.(\d+)\.(.+)$/.exec(path) ?? []
  if (layer === undefined) return path
  return `blk.${layer}.${ggmlModules[part!] ?? part}`
}
