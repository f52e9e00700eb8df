/** The engine that ships with us: llama.cpp in a worker process of our own, on the CPU, from prebuilt binaries. */
import { modulePath } from '../../runtime/self.ts'
import { type ArgumentList, argumentProblems } from '../contract.arguments.ts'
import type { EngineDriver, EngineLimits, EngineSpec, InferenceRoute, Launch, LaunchInput } from '../contract.ts'
import { tunedArgs } from '../contract.tuning.ts'
import { embeddedAdapters } from './adapters.ts'
import { embeddedRefusedField, metricsSample, readinessOf } from './dialect.ts'
import { nativePackage } from './platform.ts'
import { tuneEmbedded } from './tune.ts'
import {
  cacheTypes,
  contextTokensMaximum,
  contextTokensMinimum,
  sequencesDefault,
  sequencesMaximum,
} from './worker/arguments.ts'
import { embeddingTokensMaximum } from './worker/embedder.ts'

const stopGraceSeconds = 10
/**
 * Context that a model with a huge one gets unless asked: four sequences of it take 4 GiB beside an 8B model, which a
 * laptop has. Memory for the whole context is taken at the start, used or not.
 */
export const contextTokensDefaultMaximum = 8_192

const added: ArgumentList = {
  engine: 'the embedded engine',
  allowed: { '--cache-type-k': { value: cacheTypes }, '--cache-type-v': { value: cacheTypes } },
  own: {
    '--model': 'model_id',
    '--context': 'engine.max_model_len',
    '--sequences': 'engine.max_num_seqs',
    '--host': '',
    '--port': '',
    '--served-name': '',
    '--threads': '',
    '--adapter-sets': '',
    '--die-with-stdin': '',
  },
}

export const embedded: EngineDriver = {
  type: 'llamacpp',
  formats: ['gguf'],
  program: null,
  routes: new Set<InferenceRoute>(['chat/completions', 'completions', 'embeddings']),
  usage: { streamOptions: { include_usage: true, continuous_usage_stats: true }, extraBody: {} },
  validate,
  limits,
  launch,
  healthPath: '/health',
  metricsPath: '/metrics',
  readiness: readinessOf,
  tune: tuneEmbedded,
  metrics: metricsSample,
  adapters: embeddedAdapters,
  refusedField: embeddedRefusedField,
}

function validate(spec: EngineSpec, model: { format: string; contextSize: number } | null): string[] {
  const problems: string[] = []
  const { maxModelLen, maxNumSeqs } = spec
  if (model && model.format !== 'gguf') problems.push('llama.cpp loads GGUF files only.')
  if (nativePackage(process.platform, process.arch) === null)
    problems.push('There is no prebuilt llama.cpp for this machine.')
  if (spec.version !== undefined) problems.push('The embedded engine has one version; leave engine.version out.')
  problems.push(...argumentProblems(added, spec.additionalArgs, ''))
  if (
    maxModelLen !== undefined &&
    !within(maxModelLen, contextTokensMinimum, model?.contextSize ?? contextTokensMaximum)
  )
    problems.push(
      `engine.max_model_len must be ${contextTokensMinimum} to ${model?.contextSize ?? contextTokensMaximum} for this model.`,
    )
  if (maxNumSeqs !== undefined && !within(maxNumSeqs, 1, sequencesMaximum))
    problems.push(`engine.max_num_seqs must be 1 to ${sequencesMaximum} for the embedded engine.`)
  return problems
}

function within(value: number, minimum: number, maximum: number): boolean {
  return Number.isInteger(value) && value >= minimum && value <= maximum
}

function limits(spec: EngineSpec, model: { contextSize: number; makesVectors?: true }): EngineLimits {
  const contextTokens = Math.min(spec.maxModelLen ?? contextTokensDefaultMaximum, model.contextSize)
  const sequences = spec.maxNumSeqs ?? tuneEmbedded(spec.tuning ?? {}).sequences ?? sequencesDefault
  // Vectors are made in a context of their own.
  const besideTokens = Math.min(contextTokens, embeddingTokensMaximum)
  return { contextTokens, sequences, ...(model.makesVectors ? { besideTokens } : {}) }
}

function launch({ spec, model, host, servedName, apiKey, adapterSets }: LaunchInput): Launch {
  const { contextTokens, sequences } = limits(spec, model)
  const flags = {
    model: host.modelPath,
    host: host.address,
    port: host.port,
    'served-name': servedName,
    context: contextTokens,
    sequences,
    threads: host.threads,
    ...(adapterSets === undefined ? {} : { 'adapter-sets': adapterSets }),
  }
  const argv = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)])
  argv.push(...tunedArgs(tuneEmbedded(spec.tuning ?? {}), spec.additionalArgs), ...spec.additionalArgs)
  return {
    argv: [host.node, modulePath('engines/llamacpp/worker/main', host.packageRoot), ...argv, '--die-with-stdin'],
    env: { PADDOCK_ENGINE_KEY: apiKey },
    image: null,
    stopGraceSeconds,
  }
}
