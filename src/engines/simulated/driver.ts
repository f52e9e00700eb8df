/**
 * The engine of simulated hardware: answers without a model, at a pace and with troubles that its launch line tells. Its
 * line is read by simulated machines only (compute/simulated).
 */
import { allowing, commonFields } from '../contract.fields.ts'
import type { EngineDriver, EngineSample, EngineSpec, Launch, LaunchInput, Readiness } from '../contract.ts'
import { problemsOf, sequencesDefault } from './arguments.ts'
import { keyVariable, program } from './words.ts'

export const simulated: EngineDriver = {
  type: 'simulated',
  formats: ['gguf', 'safetensors'],
  program: null,
  routes: new Set(['chat/completions', 'completions']),
  usage: { streamOptions: { include_usage: true, continuous_usage_stats: true }, extraBody: {} },
  validate,
  limits,
  launch,
  healthPath: '/health',
  metricsPath: '/metrics',
  readiness,
  metrics,
  refusedField: allowing([commonFields]),
}

function validate(spec: EngineSpec, model: { contextSize: number } | null): string[] {
  const problems = problemsOf(spec.additionalArgs)
  const most = model?.contextSize
  if (spec.maxModelLen !== undefined && most !== undefined && spec.maxModelLen > most)
    problems.push(`engine.max_model_len must be at most ${most} for this model.`)
  if (spec.version !== undefined) problems.push('The simulated engine has one version; leave engine.version out.')
  return problems
}

function limits(spec: EngineSpec, model: { contextSize: number }): { contextTokens: number; sequences: number } {
  return { contextTokens: spec.maxModelLen ?? model.contextSize, sequences: spec.maxNumSeqs ?? sequencesDefault }
}

function launch({ spec, model, servedName, apiKey }: LaunchInput): Launch {
  const { contextTokens, sequences } = limits(spec, model)
  const own = { 'served-name': servedName, context: contextTokens, sequences }
  const argv = Object.entries(own).map(([name, value]) => `--${name}=${value}`)
  return {
    argv: [program, ...argv, ...spec.additionalArgs],
    env: { [keyVariable]: apiKey },
    image: null,
    stopGraceSeconds: 10,
  }
}

function readiness(status: number | null, body: string): Readiness {
  if (status === 200) return { state: 'ready' }
  if (status === null) return { state: 'not_ready', phase: 'files', detail: 'not listening yet' }
  if (status !== 503) return { state: 'broken', detail: `health answers ${status}` }
  const phase = body.includes('"warmup"') ? 'warmup' : 'load'
  return { state: 'not_ready', phase, detail: 'loading' }
}

const names: Record<string, keyof EngineSample> = {
  'simulated:requests_running': 'running',
  'simulated:requests_waiting': 'waiting',
  'simulated:prompt_tokens_total': 'promptTokensTotal',
  'simulated:generated_tokens_total': 'generatedTokensTotal',
}

function metrics(text: string): EngineSample {
  const sample: EngineSample = { running: 0, waiting: 0 }
  for (const line of text.split('\n')) {
    const [name, value] = line.split(' ')
    const field = names[name!]
    if (field !== undefined) sample[field] = Number(value)
  }
  return sample
}
