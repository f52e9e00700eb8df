/** llama.cpp's own server, when the operator has put it on the PATH: the same files, GPUs too. */
import { argumentProblems } from '../contract.arguments.ts'
import type { EngineDriver, EngineSpec, InferenceRoute, Launch, LaunchInput } from '../contract.ts'
import { tunedArgs } from '../contract.tuning.ts'
import { serverAdapters } from './adapters.ts'
import { serverArguments } from './arguments.ts'
import { metricsSample, readinessOf, serverRefusedField } from './dialect.ts'
import { contextTokensDefaultMaximum } from './embedded.ts'
import { tuneServer } from './tune.ts'
import { contextTokensMaximum, contextTokensMinimum } from './worker/arguments.ts'

const stopGraceSeconds = 10
const sequencesDefault = 4
const sequencesMaximum = 256

export const llamaServer: EngineDriver = {
  type: 'llama-server',
  formats: ['gguf'],
  program: 'llama-server',
  versionProbe: { engine: 'llama-server', args: ['--version'], pattern: /^version: (\S+)/, known: null },
  // What a build or a model does not have it refuses itself: embeddings and ranks need the arguments below.
  routes: new Set<InferenceRoute>([
    'chat/completions',
    'completions',
    'embeddings',
    'responses',
    'rerank',
    'messages',
    'messages/count_tokens',
  ]),
  // It knows no cumulative usage in a stream; running timings stand in for it.
  usage: { streamOptions: { include_usage: true }, extraBody: { timings_per_token: true }, timings: true },
  validate,
  limits,
  launch,
  healthPath: '/health',
  metricsPath: '/metrics',
  readiness: readinessOf,
  tune: tuneServer,
  metrics: metricsSample,
  adapters: serverAdapters,
  refusedField: serverRefusedField,
}

function validate(spec: EngineSpec, model: { format: string; contextSize: number } | null): string[] {
  const problems = argumentProblems(serverArguments, spec.additionalArgs, '')
  const { maxModelLen, maxNumSeqs } = spec
  if (model && model.format !== 'gguf') problems.push('llama-server loads GGUF files only.')
  if (spec.version !== undefined)
    problems.push('llama-server runs in the version that is on the PATH; leave engine.version out.')
  if (
    maxModelLen !== undefined &&
    !(
      Number.isInteger(maxModelLen) &&
      maxModelLen >= contextTokensMinimum &&
      maxModelLen <= (model?.contextSize ?? contextTokensMaximum)
    )
  )
    problems.push(
      `engine.max_model_len must be ${contextTokensMinimum} to ${model?.contextSize ?? contextTokensMaximum} for this model.`,
    )
  if (maxNumSeqs !== undefined && !(Number.isInteger(maxNumSeqs) && maxNumSeqs >= 1 && maxNumSeqs <= sequencesMaximum))
    problems.push(`engine.max_num_seqs must be 1 to ${sequencesMaximum} for llama-server.`)
  return problems
}

function limits(spec: EngineSpec, model: { contextSize: number }): { contextTokens: number; sequences: number } {
  return {
    contextTokens: spec.maxModelLen ?? Math.min(model.contextSize, contextTokensDefaultMaximum),
    sequences: spec.maxNumSeqs ?? tuneServer(spec.tuning ?? {}).sequences ?? sequencesDefault,
  }
}

function launch({ spec, model, host, servedName, apiKey, adapters = [] }: LaunchInput): Launch {
  const { contextTokens, sequences } = limits(spec, model)
  const argv = [
    'llama-server',
    '--model',
    host.modelPath,
    '--host',
    host.address,
    '--port',
    String(host.port),
    '--alias',
    servedName,
  ]
  // The context is shared by the slots, so it is the product.
  argv.push(
    '--ctx-size',
    String(contextTokens * sequences),
    '--parallel',
    String(sequences),
    '--threads',
    String(host.threads),
  )
  // Whoever names no adapter gets the model as it is.
  if (adapters.length > 0) argv.push('--lora', adapters.map(({ path }) => path).join(','), '--lora-init-without-apply')
  // Slots show prompts; nobody needs them.
  argv.push('--metrics', '--no-slots', '--no-webui', '--offline')
  argv.push(...tunedArgs(tuneServer(spec.tuning ?? {}), spec.additionalArgs), ...spec.additionalArgs)
  return { argv, env: { LLAMA_API_KEY: apiKey }, image: null, stopGraceSeconds }
}
