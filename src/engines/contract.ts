/**
 * What the platform asks of an inference engine. A driver is pure but for nothing: every function takes data and gives
 * data, so that launch lines and dialects are golden-tested. Adding an engine = its folder + one line in the registry.
 */
import type { AdapterRoom, EngineAdapter, EngineAdapters } from './contract.adapters.ts'
import type { Forms } from './contract.forms.ts'
import type { Tune, Tuning } from './contract.tuning.ts'
import type { VersionProbe } from './contract.versions.ts'

export type EngineType = 'llamacpp' | 'llama-server' | 'vllm' | 'sglang' | 'simulated'

/** The part of a deployment's spec that is the engine's. Zero-length arguments when nothing was added. */
export interface EngineSpec {
  type: EngineType
  version?: string
  /** Tokens per sequence; absent = the model's own. */
  maxModelLen?: number
  /** Sequences at once; absent = the engine's default. */
  maxNumSeqs?: number
  additionalArgs: string[]
  /** Set aside for LoRA adapters; absent = nothing. */
  adapterRoom?: AdapterRoom
  /** What a preset asks of it; absent = as the engine is by itself. */
  tuning?: Tuning
}

/** Weights on this machine's disk, with what the header says of them. */
export interface ModelFiles {
  modelId: string
  format: 'gguf' | 'safetensors'
  /** A file for gguf, a folder for safetensors. */
  path: string
  sizeBytes: number
  /** Context length the model was trained for, in tokens. */
  contextSize: number
  /** How its weights are stored where that is in fewer than 16 bits: `fp8`, `awq`, …; null = they are not; absent = unknown. */
  quantization?: string | null
  /** How it writes calls of tools and thoughts; absent = nobody knows. */
  forms?: Forms
  /** Files that are brought to `path` before an engine starts; absent = they are there. */
  remote?: RemoteFiles
}

export interface RemoteFiles {
  /** Who has them: the bucket of uploads; absent = the Hub. */
  from?: 'bucket'
  /** On whose behalf, and with whose token. */
  orgId: string
  repo: string
  /** What people call it; absent = as the repository. */
  title?: string
  /** Commit. */
  sha: string
  files: RemoteFile[]
}

export interface RemoteFile {
  /** Below the repository, with forward slashes. */
  path: string
  sizeBytes: number
  /** `sha256-<hex>` of its bytes, or `git-<hex>`: SHA-1 as git makes it. */
  digest: string
}

/** The place where a replica will run, as its compute driver offers it. */
export interface LaunchHost {
  address: string
  port: number
  threads: number
  /** Device indices this replica may use; empty on CPU. */
  gpuIds: string[]
  /** Whose they are; absent = no GPUs, or not known. */
  gpuVendor?: GpuVendor | null
  /** Where the engine can read the weights (may differ from ModelFiles.path: compute drivers place them). */
  modelPath: string
  /** Where it can read the other files of its order: name → path; absent = there are none. */
  files?: Readonly<Record<string, string>>
  /** The pinned Node binary and the folder that holds `src/` and `node_modules/`, readable by the engine. */
  node: string
  packageRoot: string
}

export type GpuVendor = 'nvidia' | 'amd'

/** How to start an engine. Environment beyond this comes from the compute driver's allow-list only. */
export interface Launch {
  argv: string[]
  env: Record<string, string>
  /** Files that only the engine reads, by name: they lie in the folder it is started in. */
  files?: Record<string, string>
  /** Image that has this program, for container back ends: `argv` is then the container's whole command. null = none has. */
  image: string | null
  /** Seconds between SIGTERM and SIGKILL once drained. */
  stopGraceSeconds: number
}

export interface LaunchInput {
  spec: EngineSpec
  model: ModelFiles
  host: LaunchHost
  /** Name under which the engine serves the model; the gateway writes it into requests. */
  servedName: string
  /** Bearer key that the engine demands. */
  apiKey: string
  /** LoRA adapters that the deployment has now; absent = none. */
  adapters?: readonly EngineAdapter[]
  /** Adapters, and mixtures of adapters, that it may hold a context for, where each takes one; absent = its default. */
  adapterSets?: number
}

export type StartPhase = 'hardware' | 'files' | 'load' | 'warmup'

/** When each part of a start began, and when it was ready; ms since epoch. */
export type StartMoments = Partial<Record<StartPhase | 'ready', number>>

/**
 * One answer of the readiness probe: `status` null = connection refused. `agoMs`: how long before its answer each part of
 * the start began, as far as the engine says.
 */
export type Readiness =
  | { state: 'ready'; agoMs?: StartMoments }
  | { state: 'not_ready'; phase: StartPhase; detail: string; agoMs?: StartMoments }
  | { state: 'broken'; detail: string }

/** The engines' metrics brought to common names. Missing = the engine does not say. */
export interface EngineSample {
  running: number
  waiting: number
  kvUsage?: number
  promptTokensTotal?: number
  generatedTokensTotal?: number
}

export type InferenceRoute =
  | 'chat/completions'
  | 'completions'
  | 'embeddings'
  | 'responses'
  | 'rerank'
  | 'messages'
  | 'messages/count_tokens'

/** Fields that the gateway adds upstream so that usage is always known, and whether the client's own choice must be honoured by stripping. */
export interface UsageDialect {
  /** Merged into `stream_options` of every stream. */
  streamOptions: Record<string, unknown>
  /** Merged into the body of every stream. */
  extraBody: Record<string, unknown>
  /** Chunks then carry llama.cpp's `timings`, the running count of engines without cumulative usage. */
  timings?: boolean
}

/**
 * The name under which an engine serves a model: its id, but for colons, after which some look for an adapter's name.
 */
export function servedNameOf(modelId: string): string {
  return modelId.replaceAll(':', '/')
}

export interface EngineLimits {
  contextTokens: number
  sequences: number
  /** Tokens that it keeps room for beside these; absent = none. */
  besideTokens?: number
}

export interface EngineDriver {
  type: EngineType
  /** Weights formats it can load. */
  formats: ReadonlyArray<ModelFiles['format']>
  /** Name of a program that must be on the PATH; null when it ships with us. */
  program: string | null
  /** Absent: its program says no version. */
  versionProbe?: VersionProbe
  /** Why nothing is launched with the program that is here; null = nothing stands against it as far as is known. Absent: it ships with us. */
  obstacle?(): string | null
  /** Resolves when its version is known: to be waited for before a launch. Absent: there is nothing to wait for. */
  known?(): Promise<void>
  routes: ReadonlySet<InferenceRoute>
  usage: UsageDialect
  /** Problems with the spec in sentences; empty = fine. Pure. */
  validate(spec: EngineSpec, model: Pick<ModelFiles, 'format' | 'contextSize'> | null): string[]
  /** The effective context per sequence and number of sequences for this spec. Pure. */
  limits(spec: EngineSpec, model: Pick<ModelFiles, 'contextSize'> & { makesVectors?: true }): EngineLimits
  launch(input: LaunchInput): Launch
  /** Path of the readiness probe on the engine's port. */
  healthPath: string
  metricsPath: string
  readiness(status: number | null, body: string): Readiness
  /** How far its start is by what it has printed, oldest first, while its port says nothing; null = cannot be told. */
  phaseOfLog?(lines: readonly string[]): StartPhase | null
  /** What a preset's wishes are in its own arguments. Absent: it has none to set. */
  tune?: Tune
  metrics(text: string): EngineSample
  /** Absent: it takes no LoRA adapters. */
  adapters?: EngineAdapters
  /** Body fields refused on this route because they steer the engine past the gateway. null = allowed. */
  refusedField(route: InferenceRoute, body: Record<string, unknown>): string | null
}
