/**
 * Reads a streamed chat completion: text as it comes, then what it took. Understands server-sent events as far as
 * OpenAI's dialect uses them (data, an `error` event, comments while a request is held, `[DONE]`).
 */
import type { Clock } from '../runtime/clock.ts'
import { exitStatus, Failure } from './failure.ts'

export interface StreamedAnswer {
  text: string
  finishReason: string | null
  usage: { prompt_tokens: number; completion_tokens: number; total_tokens: number } | null
  /** From sending to the first text; null when there was none. */
  ttftMs: number | null
  /** Output tokens per second after the first one; null when it cannot be told (fewer than two tokens). */
  tokensPerSecond: number | null
}

/** One line of an answer may not be longer; engines send a few tokens per line. */
const lineCharactersMaximum = 4 * 1024 * 1024

interface Chunk {
  choices?: {
    delta?: { content?: string | null; reasoning_content?: string | null; reasoning?: string | null }
    finish_reason?: string | null
  }[]
  usage?: StreamedAnswer['usage']
  error?: { message?: string; code?: string | null; action?: string }
}

/** `sentMs`: monotonic time of sending. `onText` gets every piece as it arrives. Throws Failure for an error in the stream. */
export async function readAnswer(
  response: Response,
  clock: Clock,
  sentMs: number,
  onText: (text: string, kind: 'answer' | 'thought') => void,
): Promise<StreamedAnswer> {
  const answer: StreamedAnswer = { text: '', finishReason: null, usage: null, ttftMs: null, tokensPerSecond: null }
  let ended = false
  let lastMs = sentMs
  for await (const data of eventData(response)) {
    if (data === '[DONE]') {
      ended = true
      break
    }
    const chunk = parseChunk(data)
    answer.usage = chunk.usage ?? answer.usage
    const choice = chunk.choices?.[0]
    answer.finishReason = choice?.finish_reason ?? answer.finishReason
    const thought = choice?.delta?.reasoning_content || choice?.delta?.reasoning || ''
    const text = choice?.delta?.content || ''
    if (thought === '' && text === '') continue
    lastMs = clock.monotonicMs()
    answer.ttftMs ??= lastMs - sentMs
    if (thought !== '') onText(thought, 'thought')
    if (text !== '') onText(text, 'answer')
    answer.text += text
  }
  if (!ended && answer.finishReason === null)
    throw new Failure(exitStatus.failed, 'answer_cut', 'The answer ended in the middle.', 'Ask again.')
  answer.tokensPerSecond = rate(answer, lastMs - sentMs)
  return answer
}

function rate({ usage, ttftMs }: StreamedAnswer, lastMs: number): number | null {
  const after = (usage?.completion_tokens ?? 0) - 1
  if (ttftMs === null || after < 1 || lastMs <= ttftMs) return null
  return (after * 1000) / (lastMs - ttftMs)
}

function parseChunk(data: string): Chunk {
  let chunk: Chunk
  try {
    chunk = JSON.parse(data) as Chunk
  } catch {
    throw new Failure(exitStatus.failed, 'bad_answer', 'The answer holds a piece that is not JSON.')
  }
  if (chunk.error)
    throw new Failure(
      exitStatus.failed,
      chunk.error.code ?? 'engine_failed',
      chunk.error.message ?? 'The answer ended with an error.',
      chunk.error.action ?? '',
    )
  return chunk
}

/** The data of each event. */
async function* eventData(response: Response): AsyncGenerator<string> {
  let rest = ''
  const decoder = new TextDecoder()
  for await (const bytes of response.body ?? []) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split(/\r\n|\n/)
    rest = lines.pop() ?? ''
    if (rest.length > lineCharactersMaximum)
      throw new Failure(exitStatus.failed, 'bad_answer', 'The answer holds a line without end.')
    for (const line of lines) if (line.startsWith('data:')) yield line.slice(5).trim()
  }
  if (rest.startsWith('data:')) yield rest.slice(5).trim()
}
