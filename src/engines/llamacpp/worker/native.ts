/**
 * The one door to llama.cpp: the native module of node-llama-cpp's platform package, loaded directly. Its JavaScript
 * around it costs most of a second at start (imports and a test process); a replica starts in a tenth of that without.
 * The types are those functions that the worker calls; the pinned version and the worker's tests keep them true.
 */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { nativePackage } from '../platform.ts'

export type Token = number

export interface NativeModel {
  init(): Promise<boolean>
  tokenize(text: string, parseControlTokens: boolean): Uint32Array
  detokenize(tokens: Uint32Array, showControlTokens: boolean): string
  getTrainContextSize(): number
  /** Numbers of a vector. */
  getEmbeddingVectorSize(): number
  /** Bytes of the weights. */
  getTotalSize(): number
  /** −1 when the model has none. */
  tokenBos(): Token
  tokenEos(): Token
  eotToken(): Token
  getTokenString(token: Token): string | undefined
  getTokenAttributes(token: Token): number
  isEogToken(token: Token): boolean
  getVocabularyType(): number
  shouldPrependBosToken(): boolean
  shouldAppendEosToken(): boolean
  /** Rejects with llama.cpp's reason. */
  loadLora(lora: NativeLora): Promise<void>
}

/** Not to be disposed while a context computes with it. */
export interface NativeLora {
  dispose(): Promise<void>
}

export interface NativeContext {
  /** False: not enough memory, or parameters that the model cannot have. */
  init(): Promise<boolean>
  initBatch(tokens: number): void
  /** Returns, for each wanted index, where its logits will be. */
  addToBatch(sequence: number, position: number, tokens: Uint32Array, wanted: Uint32Array): Uint32Array
  decodeBatch(): Promise<void>
  /** −1 when nothing could be chosen. */
  sampleToken(logits: number, sampler: NativeSampler): Promise<Token>
  disposeSequence(sequence: number): void
  /** `to` −1 = to the end. False: this model cannot forget a part. */
  removeTokenCellsFromSequence(sequence: number, from: number, to: number): boolean
  /** Of what was computed last, of the first sequence alone. */
  getEmbedding(tokens: number): Float64Array
  /** From now on it computes with these, each scaled. */
  setLoras(loras: readonly NativeLora[], scales: readonly number[]): void
  dispose(): Promise<void>
}

export interface SamplerConfig {
  /** 0 = always the likeliest. */
  temperature: number
  topK?: number
  topP?: number
  minP?: number
  seed: number
  repeatPenalty?: number
  repeatPenaltyTokens?: Uint32Array
  repeatPenaltyMaxTokens?: number
  repeatPenaltyPresencePenalty?: number
  repeatPenaltyFrequencyPenalty?: number
  tokenBiasKeys?: Uint32Array
  tokenBiasValues?: Float32Array
  grammarEvaluationState?: object
}

export interface NativeSampler {
  applyConfig(config: SamplerConfig): void
  dispose(): void
}

export interface Native {
  setLogger(log: (level: number, text: string) => void): void
  setLoggerLogLevel(level: number): void
  loadBackends(folder?: string): void
  /** Null or undefined while no backend is loaded, false = CPU. */
  getGpuType(): string | false | null | undefined
  getMathCores(): number
  init(): Promise<void>
  AddonModel: new (
    path: string,
    options: { addonExports: Native; gpuLayers: number; useMmap: boolean; onLoadProgress(part: number): void },
  ) => NativeModel
  AddonContext: new (
    model: NativeModel,
    options: {
      /** Tokens of all sequences together. */
      contextSize: number
      sequences: number
      batchSize: number
      threads: number
      flashAttention: boolean | 'auto'
      kvCacheKeyType?: number
      kvCacheValueType?: number
      /** It makes vectors instead of choosing tokens. */
      embeddings?: boolean
    },
  ) => NativeContext
  AddonModelLora: new (model: NativeModel, path: string) => NativeLora
  AddonSampler: {
    new (model: NativeModel): NativeSampler
    canBeNextTokenForGrammarEvaluationState(state: object, token: Token): boolean
    acceptGrammarEvaluationStateToken(state: object, token: Token): void
  }
  /** Throws when the grammar cannot be parsed. */
  AddonGrammar: new (
    grammar: string,
    options: { addonExports: Native },
  ) => object
  AddonGrammarEvaluationState: new (model: NativeModel, grammar: object) => object
  /** Throws when the template cannot be parsed; `render` when it cannot be run or refuses its input. */
  AddonJinjaRenderer: new (
    template: string,
  ) => { render(input: Record<string, unknown>): string }
}

export const logLevel = { silent: 0, errors: 2 } as const

/** Loads llama.cpp for the CPU. `onError` gets its complaints. Throws Error with one sentence. */
export async function loadNative(onError: (text: string) => void): Promise<Native> {
  const from = nativePackage(process.platform, process.arch)
  if (!from) throw new Error(`there is no prebuilt llama.cpp for ${process.platform} on ${process.arch}`)
  const require = createRequire(import.meta.url)
  // The package exports its entry alone, which lies one folder below its root.
  const file = join(dirname(require.resolve(from.name)), '..', from.file)
  const native = require(file) as Native
  native.setLoggerLogLevel(logLevel.errors)
  native.setLogger((_level, text) => onError(text))
  native.loadBackends()
  if (!hasBackend(native)) native.loadBackends(dirname(file))
  if (!hasBackend(native)) throw new Error(`no llama.cpp backend in ${dirname(file)} runs on this CPU`)
  await native.init()
  return native
}

function hasBackend(native: Native): boolean {
  return (native.getGpuType() ?? null) !== null
}
