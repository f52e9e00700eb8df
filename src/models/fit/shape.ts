/**
 * What of a model decides how much memory it takes: read from a Hugging Face `config.json`, with the names that vLLM
 * accepts, in its order (transformers_utils/model_arch_config_convertor.py), or from the pairs of a GGUF header. Pure.
 */
import type { GgufValue } from '../../kernel/gguf.ts'

export interface ModelShape {
  /** `LlamaForCausalLM`, or the architecture of a GGUF. */
  architecture: string
  layers: number
  /** Layers that attend over a window of so many tokens at most; the others over everything. */
  windowLayers: number
  /** Tokens; 0 = no layer has one. */
  window: number
  /** Layers that keep a state of constant size instead of keys and values (Mamba, linear attention). */
  stateLayers: number
  hiddenSize: number
  intermediateSize: number
  heads: number
  /** Heads of keys and values per layer; where layers differ, the mean. */
  kvHeads: number
  keyDim: number
  valueDim: number
  /** Latent attention (DeepSeek, Kimi): elements per token and layer, kept whole on every GPU; null = ordinary. */
  latentDim: number | null
  experts: number
  /** Experts that one token goes through; 0 = it has none, or its config does not say. */
  expertsAtWork: number
  /** Width of one expert; 0 = it has none, or its config does not say. */
  expertSize: number
  /** Tokens. */
  contextSize: number
  /** Of one element of the cache where nothing else is asked for. */
  cacheElementBytes: number
  /** `fp8`, `awq`, `gptq`, `compressed-tensors`, …; null = none. */
  quantization: string | null
  /** Columns that are quantised together; a split must not cut them. 0 = any split will do. */
  quantBlock: number
  /** Bytes of all weights as stored. */
  weightBytes: number
  /** Its file says how a text becomes one vector; absent = it does not, or is no GGUF. */
  makesVectors?: true
}

/** Why no shape can be read, in words. */
export type Unreadable = { ok: false; why: string }
export type ShapeRead = { ok: true; shape: ModelShape } | Unreadable

type Config = Record<string, unknown>

const kvHeadNames = [
  'n_head_kv',
  'num_kv_heads',
  'num_key_value_heads',
  'multi_query_group_num',
  'num_attention_groups',
]
const expertNames = ['num_experts', 'moe_num_experts', 'n_routed_experts', 'num_local_experts']
const expertsAtWorkNames = ['num_experts_per_tok', 'num_experts_per_token', 'moe_topk', 'moe_k']
const expertSizeNames = ['moe_intermediate_size', 'expert_ffn_hidden_size', 'ffn_hidden_size_per_expert']
const lengthNames = [
  'max_position_embeddings',
  'n_positions',
  'max_seq_len',
  'seq_length',
  'model_max_length',
  'max_target_positions',
  'max_sequence_length',
  'max_seq_length',
  'seq_len',
]
/** Their factor is already in the length, or does not lengthen. */
const unscaledRopes = new Set(['su', 'longrope', 'llama3', 'mrope', 'default'])

/** `weightBytes`: the sum of the weight files. */
export function shapeOfConfig(whole: Config, weightBytes: number): ShapeRead {
  // Of a multimodal model, the language model in it.
  const config = object(whole.text_config) ?? object(whole.llm_config) ?? whole
  const layers = first(config, ['num_hidden_layers', 'n_layer', 'num_layers'])
  const heads = first(config, ['num_attention_heads', 'n_head'])
  const hiddenSize = first(config, ['hidden_size', 'n_embd', 'd_model'])
  const contextSize = contextOf(config)
  if (layers === null) return missing('num_hidden_layers')
  if (heads === null) return missing('num_attention_heads')
  if (hiddenSize === null) return missing('hidden_size')
  if (contextSize === null) return missing('max_position_embeddings')
  const headDim = first(config, ['head_dim', 'hidden_size_per_head']) ?? hiddenSize / heads
  const latentRank = first(config, ['kv_lora_rank'])
  const [architecture = 'unknown'] = list(whole.architectures) as string[]
  const windows = windowsOf(config, layers)
  return {
    ok: true,
    shape: {
      architecture,
      layers,
      ...windows,
      hiddenSize,
      intermediateSize: first(config, ['intermediate_size', 'n_inner', 'ffn_dim']) ?? 4 * hiddenSize,
      heads,
      kvHeads: first(config, kvHeadNames) ?? heads,
      keyDim: headDim,
      valueDim: headDim,
      latentDim: latentRank === null ? null : latentRank + (first(config, ['qk_rope_head_dim']) ?? 0),
      experts: first(config, expertNames) ?? 0,
      expertsAtWork: first(config, expertsAtWorkNames) ?? 0,
      expertSize: first(config, expertSizeNames) ?? 0,
      contextSize,
      cacheElementBytes: bytesOf(config.torch_dtype ?? config.dtype ?? whole.torch_dtype ?? whole.dtype),
      ...quantizationOf(whole, config),
      weightBytes,
    },
  }
}

/** `pairs`: those whose keys begin with the architecture, and `general.architecture`. */
export function shapeOfGguf(pairs: ReadonlyMap<string, GgufValue>, weightBytes: number): ShapeRead {
  const architecture = pairs.get('general.architecture')
  if (typeof architecture !== 'string') return missing('general.architecture')
  const number = (key: string): number | null => {
    const value = pairs.get(`${architecture}.${key}`)
    if (value instanceof Int32Array) return value.length === 0 ? null : mean(value)
    return typeof value === 'number' && value > 0 ? value : null
  }
  const layers = number('block_count')
  const heads = number('attention.head_count')
  const hiddenSize = number('embedding_length')
  const contextSize = number('context_length')
  if (layers === null) return missing(`${architecture}.block_count`)
  if (heads === null) return missing(`${architecture}.attention.head_count`)
  if (hiddenSize === null) return missing(`${architecture}.embedding_length`)
  if (contextSize === null) return missing(`${architecture}.context_length`)
  const latentRank = number('attention.kv_lora_rank')
  return {
    ok: true,
    shape: {
      architecture,
      layers,
      // Which layers have the window is not in the header; all of them over everything is never too little.
      windowLayers: 0,
      window: 0,
      stateLayers: 0,
      hiddenSize,
      intermediateSize: number('feed_forward_length') ?? 4 * hiddenSize,
      heads,
      kvHeads: number('attention.head_count_kv') ?? heads,
      keyDim: number('attention.key_length') ?? hiddenSize / heads,
      valueDim: number('attention.value_length') ?? hiddenSize / heads,
      latentDim: latentRank === null ? null : latentRank + (number('rope.dimension_count') ?? 0),
      experts: number('expert_count') ?? 0,
      expertsAtWork: number('expert_used_count') ?? 0,
      expertSize: number('expert_feed_forward_length') ?? 0,
      contextSize,
      cacheElementBytes: 2,
      quantization: 'gguf',
      quantBlock: 0,
      weightBytes,
      ...(isPooling(number('pooling_type')) ? { makesVectors: true as const } : {}),
    },
  }
}

/** 4 ranks texts, and makes no vector of them. */
function isPooling(type: number | null): boolean {
  return type !== null && type !== 4
}

function contextOf(config: Config): number | null {
  const lengths = lengthNames.map((name) => first(config, [name])).filter((length) => length !== null)
  if (lengths.length === 0) return null
  const rope = object(config.rope_scaling) ?? object(config.rope_parameters)
  const type = String(rope?.rope_type ?? rope?.type ?? 'default')
  const factor = Number(rope?.factor)
  const shortest = Math.min(...lengths)
  if (!(factor > 0) || unscaledRopes.has(type) || String(config.model_type).startsWith('gemma3')) return shortest
  const original = Number(rope?.original_max_position_embeddings)
  return Math.floor((type === 'yarn' && original > 0 ? original : shortest) * factor)
}

function windowsOf(config: Config, layers: number) {
  const window = config.use_sliding_window === false ? null : first(config, ['sliding_window'])
  const types = list(config.layer_types).map(String)
  const count = (pattern: RegExp) => types.filter((type) => pattern.test(type)).length
  const stateLayers = count(/linear|mamba|recurrent/)
  if (window === null) return { window: 0, windowLayers: 0, stateLayers }
  if (types.length > 0) return { window, windowLayers: count(/sliding|chunked/), stateLayers }
  // Every n-th layer sees everything, the others a window; without a pattern all have the window.
  const pattern = first(config, ['sliding_window_pattern'])
  return { window, windowLayers: pattern === null ? layers : layers - Math.floor(layers / pattern), stateLayers }
}

function quantizationOf(whole: Config, config: Config): { quantization: string | null; quantBlock: number } {
  const found = object(whole.quantization_config) ?? object(config.quantization_config)
  if (found === null) return { quantization: null, quantBlock: 0 }
  const group = first(found, ['group_size', 'q_group_size']) ?? groupOf(found)
  const [block = 0] = list(found.weight_block_size).map(Number)
  return { quantization: String(found.quant_method ?? 'unknown'), quantBlock: block || (group ?? 0) }
}

/** compressed-tensors names a group per set of layers. */
function groupOf(quantization: Config): number | null {
  const groups = Object.values(object(quantization.config_groups) ?? {})
  return first(object(object(groups[0])?.weights) ?? {}, ['group_size'])
}

function bytesOf(dtype: unknown): number {
  return /float32|fp32/.test(String(dtype)) ? 4 : 2
}

function first(config: Config, names: readonly string[]): number | null {
  for (const name of names) {
    const value = config[name]
    if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value
  }
  return null
}

function object(value: unknown): Config | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Config) : null
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

function mean(values: Int32Array): number {
  return values.reduce((sum, one) => sum + one, 0) / values.length
}

function missing(key: string): Unreadable {
  return { ok: false, why: `${key} is missing` }
}
