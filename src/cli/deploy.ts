/** `paddock deploy`: creates a deployment, and on request waits until it answers. */
import type { CreateDeployment, Deployment, engineTypes } from '../wire/native/deployment.ts'
import { type CalendarOptions, calendarBody } from './calendar.ts'
import { hardwareText } from './deployment-text.ts'
import { usageFailure } from './failure.ts'
import { predictionLines } from './prediction-text.ts'
import type { Session } from './session.ts'
import { untilAnswers } from './wait.ts'
import { counted, elapsedText, parseDuration, usdShown } from './words.ts'

export interface DeployOptions extends CalendarOptions {
  name?: string
  gpu?: string
  preset?: string
  count?: string
  region?: string
  hardware?: string
  maxHourly?: string
  failFast?: boolean
  force?: boolean
  dryRun?: boolean
  replicas?: string
  engine?: string
  engineVersion?: string
  engineArgs?: string
  maxModelLen?: string
  maxNumSeqs?: string
  adapter?: string[]
  wait?: boolean
  /** Absent where nothing is waited for. */
  timeout?: string
}

export async function deploy(session: Session, model: string, options: DeployOptions): Promise<void> {
  const timeoutMs = durationOption('--timeout', options.timeout ?? '10m')
  const { screen, client, clock, interruption } = session
  const body = { ...deployBody(model, options), ...(await calendarBody(options, clock.now())) }
  if (options.dryRun) {
    const predicted = await client.predictDeployment(body)
    return screen.answer(predicted, () => predictionLines(predicted, screen))
  }
  const began = clock.monotonicMs()
  const created = await client.createDeployment(body, { signal: interruption.signal })
  if (!options.wait) return screen.answer(created, () => createdText(created))
  screen.note(createdText(created))
  const ready = await untilAnswers({ session, deployment: created, timeoutMs })
  screen.answer(ready, () => [
    `${screen.paint('green', ready.name)} answers after ${elapsedText(clock.monotonicMs() - began)}.`,
    `Chat with it:  paddock chat ${ready.name} "Hello"`,
    `Its endpoint:  ${ready.endpoint_url}/chat/completions`,
  ])
}

/** The create request for what was typed. Throws Failure (usage) for numbers that are none. */
export function deployBody(model: string, options: DeployOptions): CreateDeployment {
  const engine = {
    ...(options.engine === undefined ? {} : { type: options.engine as (typeof engineTypes)[number] }),
    ...given('version', options.engineVersion),
    ...given('additional_args', argumentsOption(options.engineArgs)),
    ...given('max_model_len', wholeOption('--max-model-len', options.maxModelLen)),
    ...given('max_num_seqs', wholeOption('--max-num-seqs', options.maxNumSeqs)),
  }
  return {
    name: options.name ?? nameFor(model),
    model_id: model,
    ...hardwareBody(options),
    ...given('max_hourly_usd', usdOption('--max-hourly', options.maxHourly)),
    ...given('fail_fast', options.failFast),
    ...given('force', options.force),
    ...replicasBody(options),
    ...given('adapters', options.adapter?.map(adapterOption)),
    ...given('preset', options.preset as CreateDeployment['preset']),
    ...(Object.keys(engine).length > 0 ? { engine } : {}),
  }
}

/** Without a number or a preset the API would scale by itself; who types a command wants what is typed. */
function replicasBody({ replicas, preset }: DeployOptions): Pick<CreateDeployment, 'replicas'> {
  const number = wholeOption('--replicas', replicas)
  return preset === undefined ? { replicas: number ?? 1 } : given('replicas', number)
}

function hardwareBody({ gpu, count, region, hardware, preset }: DeployOptions): Partial<CreateDeployment> {
  if (hardware === undefined)
    return {
      ...given('gpu_type', gpu ?? (preset === undefined ? 'cpu' : undefined)),
      ...given('gpu_count', wholeOption('--count', count)),
      ...given('region', region),
    }
  if (count !== undefined || region !== undefined)
    throw usageFailure('--hardware goes without --count and --region.', 'Write them in the list: h100:2@nyc2.')
  return { hardware: hardware.split(',').map(choiceOption) }
}

/** "h100:2@nyc2", count and region may be absent. */
function choiceOption(text: string): NonNullable<CreateDeployment['hardware']>[number] {
  const match = /^([^:@]+)(?::(\d{1,9}))?(?:@([^:@]+))?$/.exec(text.trim())
  if (!match) throw usageFailure(`--hardware is a list such as h100:2@nyc2,mi300x; seen: "${text}".`)
  const [, type, count, region] = match
  return {
    gpu_type: type!,
    ...given('gpu_count', wholeOption('--hardware', count)),
    ...given('region', region),
  }
}

/** "pirate=hf:acme/pirate", or the source alone. */
function adapterOption(text: string): NonNullable<CreateDeployment['adapters']>[number] {
  const [, name, source] = /^([\w-]{1,63})=(.+)$/.exec(text) ?? []
  return name === undefined ? { source: text } : { name, source: source! }
}

/** "--enforce-eager --seed 7", or a JSON list where a value holds a space. */
function argumentsOption(text: string | undefined): string[] | undefined {
  if (text === undefined) return undefined
  if (!text.trimStart().startsWith('[')) return text.split(/\s+/).filter(Boolean)
  try {
    const list: unknown = JSON.parse(text)
    if (Array.isArray(list) && list.every((item) => typeof item === 'string')) return list
  } catch {
    // Said below.
  }
  throw usageFailure(`--engine-args is text such as "--enforce-eager --seed 7", or a JSON list; seen: "${text}".`)
}

function usdOption(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (/^\$?\d{1,9}(\.\d{1,6})?$/.test(text)) return Number(text.replace('$', ''))
  throw usageFailure(`${flag} must be an amount in US dollars such as 5 or 4.50; seen: "${text}".`)
}

/** "paddock/starter" → "starter", "/models/My Model.gguf" → "my-model". */
export function nameFor(model: string): string {
  // Of the Hub: by its repository, whatever of it is chosen.
  const [, repo] = /^hf:([^/@]+\/[^/@]+)/.exec(model) ?? []
  const last = (repo ?? model).split(/[/\\]/).filter(Boolean).at(-1) ?? ''
  const name = last
    .toLowerCase()
    .replace(/\.gguf$/, '')
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 63)
    .replace(/^-+|-+$/g, '')
  if (name === '') throw usageFailure(`No name can be made from "${model}".`, 'Give one with --name.')
  return name
}

export function wholeOption(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (/^\d{1,9}$/.test(text) && Number(text) >= 1) return Number(text)
  throw usageFailure(`${flag} must be a whole number from 1; seen: "${text}".`)
}

export function durationOption(flag: string, text: string): number {
  const ms = parseDuration(text)
  if (ms !== null && ms > 0) return ms
  throw usageFailure(`${flag} must be a time such as 90s, 10m or 1h; seen: "${text}".`)
}

function given<K extends string, V>(name: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { [P in K]: V })
}

function createdText(d: Deployment): string {
  const replicas = d.desired_replicas === 1 ? '' : `${counted(d.desired_replicas, 'replica')}, `
  return `${d.name} is ${d.phase}: ${d.model_id} on ${hardwareText(d)}, ${replicas}${usdShown(d.hourly_cost_usd)}/hour.`
}
