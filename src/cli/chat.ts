/** `paddock chat`: one question with its answer streamed, or a conversation when nothing is asked on a terminal. */
import { createInterface } from 'node:readline/promises'
import { ApiError } from '../wire/native/client.ts'
import type { Deployment } from '../wire/native/deployment.ts'
import { readAnswer, type StreamedAnswer } from './answer-stream.ts'
import { wholeOption } from './deploy.ts'
import { type Failure, usageFailure } from './failure.ts'
import { aboutDeployment, fromApi, type Session } from './session.ts'
import { harmless } from './width.ts'
import { counted, momentText } from './words.ts'

export interface ChatOptions {
  maxTokens?: string
  system?: string
  temperature?: string
  stats?: boolean
  /** Further fields of the body, "name=value". */
  param?: string[]
}

interface Message {
  role: 'system' | 'user' | 'assistant'
  content: string
}

/** A prompt from a pipe may not be longer; the server refuses larger bodies as well. */
const promptCharactersMaximum = 10 * 1024 * 1024

export async function chat(
  session: Session,
  name: string,
  prompt: string | undefined,
  options: ChatOptions,
): Promise<void> {
  const body = bodyOptions(options)
  const messages: Message[] = options.system === undefined ? [] : [{ role: 'system', content: options.system }]
  const talks = prompt === undefined && process.stdin.isTTY === true
  if (talks && session.screen.json)
    throw usageFailure('--json needs a prompt.', 'Give one as an argument or through a pipe.')
  const content = talks ? '' : (prompt ?? (await pipedPrompt()))
  // Inference has ids in its paths, people have names in their heads.
  const { deployment: called, model } = withAdapter(name)
  const deployment = await aboutDeployment(called, session.client.getDeployment(called, session.interruption.signal))
  if (model !== null) body.model = model
  if (talks) return converse(session, deployment, messages, body, options)
  await ask(session, deployment, [...messages, { role: 'user', content }], body, options)
}

/** `<deployment>:<adapter>` is asked of the deployment by that name. */
function withAdapter(name: string): { deployment: string; model: string | null } {
  const at = name.indexOf(':')
  return at < 1 ? { deployment: name, model: null } : { deployment: name.slice(0, at), model: name }
}

function bodyOptions(options: ChatOptions): Record<string, unknown> {
  const temperature = options.temperature === undefined ? undefined : Number(options.temperature)
  if (temperature !== undefined && (options.temperature?.trim() === '' || !(temperature >= 0 && temperature <= 2)))
    throw usageFailure(`--temperature must be a number from 0 to 2; seen: "${options.temperature}".`)
  const maxTokens = wholeOption('--max-tokens', options.maxTokens)
  return {
    ...(maxTokens === undefined ? {} : { max_tokens: maxTokens }),
    ...(temperature === undefined ? {} : { temperature }),
    ...Object.fromEntries((options.param ?? []).map(bodyField)),
  }
}

/** "seed=7" → a number, "stop=x" → a text: JSON where it is JSON. */
export function bodyField(text: string): [name: string, value: unknown] {
  const [, name, value] = /^([A-Za-z_]\w*)=(.*)$/s.exec(text) ?? []
  if (name === undefined || value === undefined) throw usageFailure(`--param must be name=value; seen: "${text}".`)
  try {
    return [name, JSON.parse(value)]
  } catch {
    return [name, value]
  }
}

async function pipedPrompt(): Promise<string> {
  let text = ''
  process.stdin.setEncoding('utf8')
  for await (const piece of process.stdin) {
    text += piece
    if (text.length > promptCharactersMaximum) throw usageFailure('The prompt from standard input is too long.')
  }
  if (text.trim() === '') throw usageFailure('There is no prompt.', 'Give one as an argument or through a pipe.')
  return text.trimEnd()
}

/** Questions and answers until the end of input (Ctrl-D) or Ctrl-C. A failed answer is said and the talk goes on. */
async function converse(
  session: Session,
  deployment: Deployment,
  messages: Message[],
  body: Record<string, unknown>,
  options: ChatOptions,
): Promise<void> {
  const { screen, interruption } = session
  screen.note(screen.paint('dim', `Talking to ${deployment.name} (${deployment.model_id}). Ctrl-D ends.`))
  for (;;) {
    const content = await question(screen.paint('cyan', 'you › '), interruption.signal)
    if (content === null) return
    if (content.trim() === '') continue
    messages.push({ role: 'user', content })
    try {
      const answer = await ask(session, deployment, messages, body, options)
      messages.push({ role: 'assistant', content: answer.text })
    } catch (error) {
      messages.pop()
      screen.fail(answerFailure(error))
    }
  }
}

/** What may go wrong with one answer while the talk goes on; everything else is thrown. */
function answerFailure(error: unknown): Failure {
  if (error instanceof ApiError && error.status !== 401 && error.status !== 0) return fromApi(error)
  throw error
}

/** One line from the terminal; null at the end of input. The terminal is given back while an answer streams. */
async function question(prompt: string, signal: AbortSignal): Promise<string | null> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  const closed = new Promise<null>((resolve) => terminal.once('close', () => resolve(null)))
  // In raw mode Ctrl-C is a key, not a signal.
  terminal.on('SIGINT', () => process.kill(process.pid, 'SIGINT'))
  try {
    const line = await Promise.race([terminal.question(prompt, { signal }), closed])
    if (line === null) process.stdout.write('\n')
    return line
  } catch (error) {
    process.stdout.write('\n')
    throw signal.aborted ? signal.reason : error
  } finally {
    terminal.close()
  }
}

async function ask(
  session: Session,
  deployment: Deployment,
  messages: Message[],
  options: Record<string, unknown>,
  shown: ChatOptions,
): Promise<StreamedAnswer> {
  const { screen, client, clock, interruption } = session
  const body = { ...options, messages, stream: true, stream_options: { include_usage: true } }
  const sent = clock.monotonicMs()
  let column = 0
  try {
    const response = await client.chatCompletions(deployment.id, body, interruption.signal)
    const answer = await readAnswer(response, clock, sent, (text, kind) => {
      const safe = screen.live ? harmless(text) : text
      screen.write(kind === 'thought' ? screen.paint('dim', safe) : safe)
      column = text.endsWith('\n') ? 0 : 1
    })
    endLine(session, column)
    if (screen.json) screen.answer(answerDocument(deployment.name, answer), () => '')
    if (shown.stats) screen.note(screen.paint('dim', statsText(answer)))
    return answer
  } catch (error) {
    endLine(session, column)
    throw interruption.signal.aborted ? interruption.signal.reason : error
  }
}

function endLine({ screen }: Session, column: number): void {
  if (column > 0) screen.write('\n')
}

function answerDocument(name: string, answer: StreamedAnswer): unknown {
  return {
    deployment: name,
    content: answer.text,
    finish_reason: answer.finishReason,
    usage: answer.usage,
    ttft_ms: answer.ttftMs === null ? null : Math.round(answer.ttftMs * 10) / 10,
    tokens_per_second: answer.tokensPerSecond === null ? null : Math.round(answer.tokensPerSecond * 10) / 10,
  }
}

/** "first token 38 ms · 212 tokens/s · 64 tokens" */
export function statsText(answer: Pick<StreamedAnswer, 'ttftMs' | 'tokensPerSecond' | 'usage'>): string {
  return [
    ...(answer.ttftMs === null ? [] : [`first token ${momentText(answer.ttftMs)}`]),
    ...(answer.tokensPerSecond === null ? [] : [`${answer.tokensPerSecond.toFixed(0)} tokens/s`]),
    ...(answer.usage === null ? [] : [counted(answer.usage.completion_tokens, 'token')]),
  ].join(' · ')
}
