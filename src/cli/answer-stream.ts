/**
 * Reads a streamed chat completion: text as it comes, then what it took. Understands server-sent events as far as
 * OpenAI's dialect uses them (data, an `error` event, comments while a request is held, `[DONE]`).
 */
import type { Clock } from '../runtime/clock.ts'
import { withoutAction } from '../wire/native/client.ts'
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

/** Shortest stream whose speed can be told from the moments of its pieces. */
const measurableMs = 20

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

/** Tokens per second after the first token. `lastMs`: from sending to the last text. */
function rate({ usage, ttftMs }: StreamedAnswer, lastMs: number): number | null {
  const tokens = usage?.completion_tokens ?? 0
  if (ttftMs === null || tokens < 2 || lastMs <= 0) return null
  // An answer that came in one piece tells nothing of the time between its tokens; the whole wait does.
  if (lastMs - ttftMs < measurableMs) return (tokens * 1000) / lastMs
  return ((tokens - 1) * 1000) / (lastMs - ttftMs)
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
      withoutAction(chunk.error.message ?? 'The answer ended with an error.', chunk.error.action ?? ''),
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
