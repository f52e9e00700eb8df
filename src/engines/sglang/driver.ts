/**
 * SGLang: `sglang serve` where it is on the PATH, the project's own image for container back ends. It takes its key from
 * its arguments only, which other users of a machine can read: so from a file that it alone can. On SIGTERM it drains
 * without an end: who sends it keeps the deadline.
 */
import { argumentProblems } from '../contract.arguments.ts'
import { formArgs } from '../contract.forms.ts'
import { numberProblems } from '../contract.numbers.ts'
import type { EngineDriver, EngineSpec, GpuVendor, Launch, LaunchInput } from '../contract.ts'
import { tunedArgs, tunedLimits } from '../contract.tuning.ts'
import { versionProblem } from '../contract.versions.ts'
import { sglangAdapters } from './adapters.ts'
import { sglangArguments, sglangForms } from './arguments.ts'
import { phaseOfLog, readinessOf, sampleOf } from './dialect.ts'
import { sglangRefusedField } from './fields.ts'
import { tuneSglang } from './tune.ts'
import { known } from './versions.ts'

const stopGraceSeconds = 30
/** It takes as many as its memory holds, and tells nobody before; this much is usual on one large GPU. */
const sequencesDefault = 256
const adaptersAtOnceMaximum = 8
const keyFile = 'sglang.yaml'

export const sglang: EngineDriver = {
  type: 'sglang',
  formats: ['safetensors'],
  program: 'sglang',
  versionProbe: {
    engine: 'SGLang',
    args: ['version'],
    pattern: /^sglang version: v?(\d+\.\d+\.\d+(\.post\d+)?)/,
    known,
  },
  routes: new Set([
    'chat/completions',
    'completions',
    'embeddings',
    'responses',
    'rerank',
    'messages',
    'messages/count_tokens',
  ]),
  usage: { streamOptions: { include_usage: true, continuous_usage_stats: true }, extraBody: {} },
  validate,
  limits: (spec, model) => tunedLimits(spec, model, { tune: tuneSglang, sequencesDefault }),
  launch,
  healthPath: '/health',
  metricsPath: '/metrics',
  readiness: readinessOf,
  phaseOfLog,
  tune: tuneSglang,
  metrics: sampleOf,
  adapters: sglangAdapters,
  refusedField: sglangRefusedField,
}

function validate(spec: EngineSpec, model: { format: string; contextSize: number } | null): string[] {
  const problems: string[] = []
  if (model !== null && model.format !== 'safetensors')
    problems.push('SGLang is given safetensors here; GGUF files run on llama.cpp.')
  const version = versionProblem('SGLang', spec.version, known)
  if (version !== null) problems.push(version)
  problems.push(...numberProblems(spec, model?.contextSize ?? null))
  if (version === null)
    problems.push(...argumentProblems(sglangArguments, spec.additionalArgs, spec.version ?? known.newest))
  problems.push(...guessProblems(spec))
  return problems
}

const guessNumbers = ['--speculative-num-steps', '--speculative-eagle-topk', '--speculative-num-draft-tokens']

function guessProblems({ additionalArgs, adapterRoom }: EngineSpec): string[] {
  const problems: string[] = []
  const at = additionalArgs.indexOf('--speculative-algorithm')
  const algorithm = at < 0 ? undefined : additionalArgs[at + 1]
  const given = guessNumbers.filter((name) => additionalArgs.includes(name))
  if (algorithm === 'NEXTN' && given.length !== 0 && given.length !== guessNumbers.length)
    problems.push(`engine.additional_args: SGLang takes all of ${guessNumbers.join(', ')}, or none.`)
  if (adapterRoom !== undefined && algorithm !== undefined && algorithm !== 'NGRAM')
    problems.push('engine.additional_args: with LoRA adapters SGLang guesses ahead by NGRAM only.')
  return problems
}

function launch({ spec, model, host, servedName, apiKey }: LaunchInput): Launch {
  const { adapterRoom, additionalArgs, maxModelLen, version } = spec
  const gpu = host.gpuIds.length === 0 ? null : (host.gpuVendor ?? 'nvidia')
  const ground = { version, adapters: adapterRoom !== undefined, quantization: model.quantization ?? null, gpu }
  const tuned = tuneSglang(spec.tuning ?? {}, ground)
  const sequences = spec.maxNumSeqs ?? tuned.sequences
  const argv = ['sglang', 'serve', '--model-path', host.modelPath, '--served-model-name', servedName]
  argv.push('--config', keyFile, '--host', host.address, '--port', String(host.port))
  argv.push('--tp-size', String(Math.max(1, host.gpuIds.length)), '--enable-metrics', '--enable-cache-report')
  if (maxModelLen !== undefined) argv.push('--context-length', String(maxModelLen))
  if (sequences !== undefined) argv.push('--max-running-requests', String(sequences))
  if (adapterRoom !== undefined) {
    const { count, rankMaximum } = adapterRoom
    // Requests for the model itself take one of the places in a batch.
    argv.push('--enable-lora', '--max-loras-per-batch', String(Math.min(count, adaptersAtOnceMaximum) + 1))
    argv.push('--max-loaded-loras', String(Math.max(count, adaptersAtOnceMaximum + 1)))
    argv.push('--max-lora-rank', String(rankMaximum), '--lora-target-modules', 'all')
  }
  argv.push(...formArgs(model.forms ?? {}, sglangForms, additionalArgs))
  argv.push(...tunedArgs(tuned, additionalArgs), ...additionalArgs)
  const files = { [keyFile]: `api-key: ${JSON.stringify(apiKey)}\n` }
  return { argv, env: environment, files, image: imageOf(version, gpu), stopGraceSeconds }
}

/** A look at its health would otherwise be a generation of its own, which takes a second and more when it is busy. */
const environment = { HF_HUB_OFFLINE: '1', SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION: '0', DO_NOT_TRACK: '1' }

function imageOf(version: string = known.newest, gpu: GpuVendor | null): string {
  return gpu === 'amd' ? `lmsysorg/sglang:v${version}-rocm720-mi30x` : `lmsysorg/sglang:v${version}`
}
