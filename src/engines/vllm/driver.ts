/**
 * vLLM: `vllm serve` where it is on the PATH, the project's own image for container back ends. Its key travels in the
 * environment; the hub is never asked, the weights are there. On SIGTERM it lets requests finish for a while, and
 * answers new ones with nothing but `"abort"`: who sends it has taken it out of the gateway before.
 */
import { argumentProblems } from '../contract.arguments.ts'
import { formArgs } from '../contract.forms.ts'
import { numberProblems } from '../contract.numbers.ts'
import type { EngineDriver, EngineSpec, GpuVendor, Launch, LaunchInput } from '../contract.ts'
import { tunedArgs, tunedLimits } from '../contract.tuning.ts'
import { versionProblem } from '../contract.versions.ts'
import { vllmAdapters } from './adapters.ts'
import { vllmArguments, vllmForms } from './arguments.ts'
import { phaseOfLog, readinessOf, sampleOf } from './dialect.ts'
import { vllmRefusedField } from './fields.ts'
import { tuneVllm } from './tune.ts'
import { known } from './versions.ts'

/** So long it waits for requests that outlived the gateway's drain. */
const shutdownSeconds = 20
const stopGraceSeconds = 30
/** Its own default is more on large GPUs; this much is certain. */
const sequencesDefault = 256
const adaptersAtOnceMaximum = 8

export const vllm: EngineDriver = {
  type: 'vllm',
  formats: ['safetensors'],
  program: 'vllm',
  versionProbe: { engine: 'vLLM', args: ['--version'], pattern: /^v?(\d+\.\d+\.\d+(\.post\d+)?)/, known },
  // What a model or a version does not have is not there, and answers 404.
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
  limits: (spec, model) => tunedLimits(spec, model, { tune: tuneVllm, sequencesDefault }),
  launch,
  healthPath: '/health',
  metricsPath: '/metrics',
  readiness: readinessOf,
  phaseOfLog,
  tune: tuneVllm,
  metrics: sampleOf,
  adapters: vllmAdapters,
  refusedField: vllmRefusedField,
}

function validate(spec: EngineSpec, model: { format: string; contextSize: number } | null): string[] {
  const problems: string[] = []
  if (model !== null && model.format !== 'safetensors')
    problems.push('vLLM loads safetensors; GGUF files run on llama.cpp.')
  const version = versionProblem('vLLM', spec.version, known)
  if (version !== null) problems.push(version)
  problems.push(...numberProblems(spec, model?.contextSize ?? null))
  if (version === null)
    problems.push(...argumentProblems(vllmArguments, spec.additionalArgs, spec.version ?? known.newest))
  if (spec.adapterRoom !== undefined && spec.additionalArgs.includes('--speculative-config'))
    problems.push('engine.additional_args: --speculative-config does not go together with LoRA adapters in vLLM.')
  return problems
}

function launch({ spec, model, host, servedName, apiKey }: LaunchInput): Launch {
  const { adapterRoom, additionalArgs, maxModelLen, version } = spec
  const gpu = host.gpuIds.length === 0 ? null : (host.gpuVendor ?? 'nvidia')
  const ground = { version, adapters: adapterRoom !== undefined, quantization: model.quantization ?? null, gpu }
  const tuned = tuneVllm(spec.tuning ?? {}, ground)
  const sequences = spec.maxNumSeqs ?? tuned.sequences
  const argv = ['vllm', 'serve', host.modelPath, '--served-model-name', servedName]
  argv.push('--host', host.address, '--port', String(host.port))
  argv.push('--tensor-parallel-size', String(Math.max(1, host.gpuIds.length)))
  // Adapters are told to one server; several would each know their own.
  argv.push('--api-server-count', '1', '--enable-prompt-tokens-details', '--disable-uvicorn-access-log')
  argv.push('--shutdown-timeout', String(shutdownSeconds))
  if (maxModelLen !== undefined) argv.push('--max-model-len', String(maxModelLen))
  if (sequences !== undefined) argv.push('--max-num-seqs', String(sequences))
  if (adapterRoom !== undefined) {
    const { count, rankMaximum } = adapterRoom
    argv.push('--enable-lora', '--max-loras', String(Math.min(count, adaptersAtOnceMaximum)))
    argv.push('--max-cpu-loras', String(count), '--max-lora-rank', String(rankMaximum))
  }
  argv.push(...formArgs(model.forms ?? {}, vllmForms, additionalArgs))
  argv.push(...tunedArgs(tuned, additionalArgs), ...additionalArgs)
  return { argv, env: environment(apiKey, adapterRoom !== undefined), image: imageOf(version, gpu), stopGraceSeconds }
}

function environment(apiKey: string, adapters: boolean): Record<string, string> {
  return {
    VLLM_API_KEY: apiKey,
    HF_HUB_OFFLINE: '1',
    VLLM_NO_USAGE_STATS: '1',
    DO_NOT_TRACK: '1',
    ...(adapters ? { VLLM_ALLOW_RUNTIME_LORA_UPDATING: 'True' } : {}),
  }
}

function imageOf(version: string = known.newest, gpu: GpuVendor | null): string {
  if (gpu === null) return `vllm/vllm-openai-cpu:v${version}-x86_64`
  return gpu === 'amd' ? `vllm/vllm-openai-rocm:v${version}` : `vllm/vllm-openai:v${version}`
}
