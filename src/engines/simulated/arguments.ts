/** The launch line of a simulated engine: what it is to do, and when it is to fail. Pure. */
import { parseArgs } from 'node:util'

export interface EngineArguments {
  servedName: string
  /** Tokens per sequence. */
  contextTokens: number
  /** Sequences at once; more wait. */
  sequences: number
  /** Of one sequence. */
  tokensPerSecond: number
  /** From the moment it has a sequence. */
  firstTokenMs: number
  /** Tokens of an answer that nothing cuts short. */
  answerTokens: number
  loadSeconds: number
  warmupSeconds: number
  /** The end of which part of the start it does not survive; null = it starts. */
  failAt: FailAt | null
  exitCode: number
  /** What it prints before it fails. */
  say: string[]
  /** Numbered lines that it prints when it starts. */
  printLines: number
  /** It ends by itself so long after it was ready; null = never. */
  crashAfterSeconds: number | null
  /** It must be killed. */
  ignoreTerm: boolean
}

const failMoments = ['start', 'load', 'warmup'] as const
export type FailAt = (typeof failMoments)[number]

export const sequencesDefault = 8

const own = {
  'served-name': { type: 'string', default: 'simulated' },
  context: { type: 'string', default: '8192' },
  sequences: { type: 'string', default: String(sequencesDefault) },
} as const
const open = {
  'tokens-per-second': { type: 'string', default: '50' },
  'first-token-ms': { type: 'string', default: '200' },
  'answer-tokens': { type: 'string', default: '48' },
  'load-seconds': { type: 'string', default: '1' },
  'warmup-seconds': { type: 'string', default: '0.2' },
  'fail-at': { type: 'string' },
  'exit-code': { type: 'string', default: '1' },
  say: { type: 'string', multiple: true, default: [] as string[] },
  'print-lines': { type: 'string', default: '0' },
  'crash-after-seconds': { type: 'string' },
  'ignore-term': { type: 'boolean', default: false },
} as const

/** Of two values of one flag the later counts. Throws an Error whose message names the flag. */
export function readArguments(argv: readonly string[]): EngineArguments {
  const { values } = parseArgs({ args: [...argv], options: { ...own, ...open }, strict: true, allowPositionals: false })
  const failAt = values['fail-at'] ?? null
  if (failAt !== null && !isFailAt(failAt))
    throw new Error(`--fail-at must be one of ${failMoments.join(', ')}; seen: "${failAt}".`)
  const crash = values['crash-after-seconds']
  return {
    servedName: values['served-name'],
    contextTokens: number('context', values.context, 1, 1e8),
    sequences: number('sequences', values.sequences, 1, 1e5),
    tokensPerSecond: number('tokens-per-second', values['tokens-per-second'], 0.001, 1e6),
    firstTokenMs: number('first-token-ms', values['first-token-ms'], 0, 1e7),
    answerTokens: number('answer-tokens', values['answer-tokens'], 1, 1e6),
    loadSeconds: number('load-seconds', values['load-seconds'], 0, 1e6),
    warmupSeconds: number('warmup-seconds', values['warmup-seconds'], 0, 1e6),
    failAt,
    exitCode: number('exit-code', values['exit-code'], 0, 255),
    say: values.say,
    printLines: number('print-lines', values['print-lines'], 0, 1000),
    crashAfterSeconds: crash === undefined ? null : number('crash-after-seconds', crash, 0, 1e9),
    ignoreTerm: values['ignore-term'],
  }
}

/** Arguments that a deployment may add: problems in sentences. */
export function problemsOf(added: readonly string[]): string[] {
  const meant = added.find((arg) =>
    Object.keys(own).some((name) => arg === `--${name}` || arg.startsWith(`--${name}=`)),
  )
  if (meant !== undefined) return [`${meant.split('=')[0]} is set by the deployment itself; leave it out.`]
  try {
    readArguments(added)
    return []
  } catch (error) {
    const flags = Object.keys(open).map((name) => `--${name}`)
    return [`engine.additional_args: ${(error as Error).message} The simulated engine takes ${flags.join(', ')}.`]
  }
}

function isFailAt(text: string): text is FailAt {
  return (failMoments as readonly string[]).includes(text)
}

function number(flag: string, text: string, minimum: number, maximum: number): number {
  const value = Number(text)
  if (text.trim() === '' || !(value >= minimum && value <= maximum))
    throw new Error(`--${flag} must be a number from ${minimum} to ${maximum}; seen: "${text}".`)
  return value
}
