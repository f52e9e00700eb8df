/**
 * May this model be deployed at all (T7)? By its architecture, which some engine must run, and by the base it names, which
 * must be of the same family. For catalogue entries, Hub repositories and uploaded files alike. Pure; it knows nothing of
 * which engines this server has, see deployments/spec.ts for that.
 */
import type { EngineType, ModelFiles } from '../../engines/contract.ts'
import { Fault } from '../../kernel/fault.ts'
import {
  embeddingArchitectures,
  llamacppArchitectures,
  seeingArchitectures,
  sglangArchitectures,
  vllmArchitectures,
} from './architectures.ts'

export type ArchitectureVerdict =
  | { ok: true; engines: EngineType[]; seesPictures: boolean }
  /** `why`: a sentence. `supported`: architectures of the same format. */
  | { ok: false; why: string; supported: string[] }

const byEngine = (['vllm', 'sglang'] as const).map((type) => {
  return [type, new Set(type === 'vllm' ? vllmArchitectures : sglangArchitectures)] as const
})
const ofGguf: ReadonlySet<string> = new Set(llamacppArchitectures)

/** `architecture`: `architectures[0]` of the config, or `general.architecture` of the GGUF. */
export function judgeArchitecture(format: ModelFiles['format'], architecture: string): ArchitectureVerdict {
  if (format === 'gguf') {
    if (ofGguf.has(architecture)) return { ok: true, engines: ['llamacpp', 'llama-server'], seesPictures: false }
    const why = embeddingArchitectures.has(architecture)
      ? `Its architecture ${shown(architecture)} makes embeddings and cannot talk.`
      : `llama.cpp does not run the architecture ${shown(architecture)}.`
    return { ok: false, why, supported: [...llamacppArchitectures] }
  }
  const engines = byEngine.filter(([, names]) => names.has(architecture)).map(([type]) => type)
  if (engines.length > 0) return { ok: true, engines, seesPictures: seeingArchitectures.has(architecture) }
  const supported = [...new Set([...vllmArchitectures, ...sglangArchitectures])].sort()
  return { ok: false, why: `Neither vLLM nor SGLang runs the architecture ${shown(architecture)}.`, supported }
}

/** A model that others rest on, as the catalogue knows it. */
export interface KnownBase {
  id: string
  repo: string | null
  architecture: string
}

export type LineageVerdict =
  /** `base`: id of the known one that it rests on; null = none of them is known here. */
  { ok: true; base: string | null } | { ok: false; why: string }

/**
 * `bases`: what the model says it rests on, as Hub ids or addresses; none is fine. Of a known base the family must be its
 * own: a name alone proves nothing. An unknown base is judged by the architecture, which it shares.
 */
export function judgeLineage(
  architecture: string,
  bases: readonly string[],
  known: readonly KnownBase[],
): LineageVerdict {
  for (const named of bases) {
    const base = known.find(({ id, repo }) => sameName(named, id) || (repo !== null && sameName(named, repo)))
    if (base === undefined) continue
    if (familyOf(base.architecture) !== familyOf(architecture))
      return {
        ok: false,
        why: `It says that it rests on ${base.id}, which is ${shown(base.architecture)}, but is itself ${shown(architecture)}.`,
      }
    return { ok: true, base: base.id }
  }
  return { ok: true, base: null }
}

/** What the header of a GGUF file says it rests on. */
export function basesOfGguf(pairs: ReadonlyMap<string, unknown>): string[] {
  return [0, 1, 2].flatMap((n) => {
    const base = pairs.get(`general.base_model.${n}.repo_url`)
    return typeof base === 'string' ? [base] : []
  })
}

/** Fault `model_not_supported`, with the list of what is; an empty list: its architecture is not what is wrong. */
export function unsupported(modelId: string, why: string, supported: readonly string[]): Fault {
  const byArchitecture = supported.length > 0
  return new Fault('model_not_supported', why, {
    action: byArchitecture
      ? 'Choose a model of one of the architectures listed in error.detail.'
      : 'Choose another model, or have what it says of its base corrected.',
    detail: { model_id: modelId, ...(byArchitecture ? { supported_architectures: supported } : {}) },
  })
}

const suffixes = /[-_.](fp8|awq|gptq|gguf|w4a16|w8a8|int8|int4|bnb|4bit|8bit|quantized|dynamic)$/

/** Names of the same weights: case, address and what a quantised copy adds do not count. */
export function sameName(a: string, b: string): boolean {
  return plain(a) === plain(b)
}

function plain(name: string): string {
  let text = name
    .toLowerCase()
    .replace(/^https?:\/\/[^/]+\//, '')
    .replace(/\/+$/, '')
    .replace(/^.*\//, '')
    .replace(/^meta-(?=llama)/, '')
  while (suffixes.test(text)) text = text.replace(suffixes, '')
  return text
}

/** The two formats name families differently; Mistral's are Llamas to llama.cpp. */
const aliases: Record<string, string> = {
  mistral: 'llama',
  mixtral: 'llama',
  aquila: 'llama',
  internlm3: 'llama',
  deepseekv2: 'deepseek2',
  deepseekv3: 'deepseek2',
  deepseekv32: 'deepseek2',
  cohere: 'commandr',
  phi: 'phi2',
  qwen25vl: 'qwen2vl',
  gptneox: 'gptneox',
  hunyuandensev1: 'hunyuandense',
  hunyuanmoev1: 'hunyuanmoe',
  glm: 'chatglm',
  falconmamba: 'mamba',
}

export function familyOf(architecture: string): string {
  const bare = architecture
    .replace(/(ForCausalLM|ForConditionalGeneration|LMHeadModel|ChatModel|Model)$/, '')
    .toLowerCase()
    .replace(/[^a-z0-9]/g, '')
  return aliases[bare] ?? bare
}

/** It comes from a file: short, and without what could disturb a terminal. */
function shown(name: string): string {
  return JSON.stringify(name.slice(0, 64))
}
