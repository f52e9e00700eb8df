/**
 * What engines write on each route, as vLLM, SGLang and llama.cpp do: plain answers, streams and failures, with the
 * counts that the test wants told.
 */
import type { InferenceRoute } from '../engines/contract.ts'

export interface Count {
  prompt: number
  cached: number
  completion: number
  reasoning: number
}

export interface Speech {
  /** Fields that a request of this route needs beside the model. */
  ask: object
  plain(model: string, text: string, usage: object | null): object
  usage(count: Count): object
  /** null: there are no streams. */
  stream: StreamSpeech | null
}

export interface StreamSpeech {
  /** Before the first piece. `usage`: where the route tells the question's share first. */
  begin(model: string, usage: Count | null): string
  piece(model: string, text: string): string
  end(model: string, usage: Count | null): string
  /** How an engine says in mid-stream that it cannot go on. */
  failure(message: string): string
  /** What the client reads of it, as one text. */
  textOf(events: Record<string, unknown>[]): string
}

const data = (value: object) => `data: ${JSON.stringify(value)}\n\n`
const named = (value: { type: string }) => `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`

const openAiUsage = ({ prompt, cached, completion, reasoning }: Count) => ({
  prompt_tokens: prompt,
  completion_tokens: completion,
  total_tokens: prompt + completion,
  ...(cached > 0 ? { prompt_tokens_details: { cached_tokens: cached } } : {}),
  ...(reasoning > 0 ? { completion_tokens_details: { reasoning_tokens: reasoning } } : {}),
})

function chunks(object: string, choice: (text: string) => object): StreamSpeech {
  const event = (model: string, more: object) => data({ id: 'x', object, created: 1, model, ...more })
  return {
    begin: () => '',
    piece: (model, text) => event(model, { choices: [choice(text)] }),
    end: (model, usage) =>
      event(model, { choices: [{ ...choice(''), finish_reason: 'stop' }] }) +
      (usage === null ? '' : event(model, { choices: [], usage: openAiUsage(usage) })) +
      'data: [DONE]\n\n',
    failure: (message) => data({ error: { message, type: 'server_error', code: 500 } }),
    textOf: (events) =>
      events
        .flatMap((one) => one.choices as { text?: string; delta?: { content?: string } }[])
        .map((one) => one.text ?? one.delta?.content ?? '')
        .join(''),
  }
}

const chat: Speech = {
  ask: { messages: [{ role: 'user', content: 'Hi' }] },
  plain: (model, content, usage) => ({
    id: 'x',
    object: 'chat.completion',
    created: 1,
    model,
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
    ...(usage === null ? {} : { usage }),
  }),
  usage: openAiUsage,
  stream: chunks('chat.completion.chunk', (content) => ({ index: 0, delta: { content }, finish_reason: null })),
}

const completions: Speech = {
  ask: { prompt: 'Hi' },
  plain: (model, text, usage) => ({
    id: 'x',
    object: 'text_completion',
    created: 1,
    model,
    choices: [{ index: 0, text, finish_reason: 'stop' }],
    ...(usage === null ? {} : { usage }),
  }),
  usage: openAiUsage,
  stream: chunks('text_completion', (text) => ({ index: 0, text, finish_reason: null })),
}

const promptOnly = ({ prompt }: Count) => ({ prompt_tokens: prompt, total_tokens: prompt })

const embeddings: Speech = {
  ask: { input: 'Hi' },
  plain: (model, _text, usage) => ({
    object: 'list',
    data: [{ object: 'embedding', index: 0, embedding: [0.25, -1e-7] }],
    model,
    ...(usage === null ? {} : { usage }),
  }),
  usage: promptOnly,
  stream: null,
}

const rerank: Speech = {
  ask: { query: 'Hi', documents: ['a', 'b'] },
  plain: (model, _text, usage) => ({
    id: 'rerank-1',
    model,
    ...(usage === null ? {} : { usage }),
    results: [{ index: 1, document: { text: 'b' }, relevance_score: 0.75 }],
  }),
  usage: promptOnly,
  stream: null,
}

const responsesUsage = ({ prompt, cached, completion, reasoning }: Count) => ({
  input_tokens: prompt,
  input_tokens_details: { cached_tokens: cached },
  output_tokens: completion,
  output_tokens_details: { reasoning_tokens: reasoning },
  total_tokens: prompt + completion,
})
const responseObject = (model: string, status: string, output: object[], usage: object | null) => ({
  id: 'resp_1',
  object: 'response',
  created_at: 1,
  status,
  model,
  output,
  usage,
})
const outputText = (text: string) => [
  { type: 'message', id: 'msg_1', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text }] },
]

const responses: Speech = {
  ask: { input: 'Hi' },
  plain: (model, text, usage) => responseObject(model, 'completed', outputText(text), usage),
  usage: responsesUsage,
  stream: {
    begin: (model) =>
      ['response.created', 'response.in_progress']
        .map((type, n) =>
          named({ type, ...{ sequence_number: n, response: responseObject(model, 'in_progress', [], null) } }),
        )
        .join(''),
    piece: (_model, delta) =>
      named({ type: 'response.output_text.delta', ...{ item_id: 'msg_1', output_index: 0, content_index: 0, delta } }),
    end: (model, usage) =>
      named({
        type: 'response.completed',
        ...{ response: responseObject(model, 'completed', outputText('all'), usage && responsesUsage(usage)) },
      }),
    failure: (message) => named({ type: 'error', ...{ code: 'server_error', message, param: null } }),
    textOf: (events) => events.map((one) => one.delta ?? '').join(''),
  },
}

const messagesUsage = ({ prompt, cached, completion }: Count) => ({
  ...(cached > 0 ? { cache_read_input_tokens: cached } : {}),
  input_tokens: prompt - cached,
  output_tokens: completion,
})
const messageObject = (model: string, content: object[], usage: object | null) => ({
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model,
  content,
  stop_reason: content.length > 0 ? 'end_turn' : null,
  stop_sequence: null,
  ...(usage === null ? {} : { usage }),
})

const messages: Speech = {
  ask: { max_tokens: 16, messages: [{ role: 'user', content: 'Hi' }] },
  plain: (model, text, usage) => messageObject(model, [{ type: 'text', text }], usage),
  usage: messagesUsage,
  stream: {
    begin: (model, usage) =>
      named({
        type: 'message_start',
        ...{ message: messageObject(model, [], usage && messagesUsage({ ...usage, completion: 0 })) },
      }) +
      named({ type: 'content_block_start', ...{ index: 0, content_block: { type: 'text', text: '' } } }) +
      named({ type: 'ping' }),
    piece: (_model, text) =>
      named({ type: 'content_block_delta', ...{ index: 0, delta: { type: 'text_delta', text } } }),
    end: (_model, usage) =>
      named({ type: 'content_block_stop', ...{ index: 0 } }) +
      named({
        type: 'message_delta',
        ...{
          delta: { stop_reason: 'end_turn', stop_sequence: null },
          ...(usage === null ? {} : { usage: { output_tokens: usage.completion } }),
        },
      }) +
      named({ type: 'message_stop' }),
    failure: (message) => named({ type: 'error', ...{ error: { type: 'api_error', message } } }),
    textOf: (events) => events.map((one) => (one.delta as { text?: string })?.text ?? '').join(''),
  },
}

/** All but the one that only counts. */
export type SpokenRoute = Exclude<InferenceRoute, 'messages/count_tokens'>

export const speeches: Readonly<Record<SpokenRoute, Speech>> = {
  'chat/completions': chat,
  completions,
  embeddings,
  rerank,
  responses,
  messages,
}

/** Data of all events, `[DONE]` left out. */
export function eventsOf(text: string): Record<string, unknown>[] {
  return text
    .split(/\r?\n\r?\n/)
    .map((event) => /^data: ?(.*)$/m.exec(event)?.[1] ?? '')
    .filter((payload) => payload !== '' && payload !== '[DONE]')
    .map((payload) => JSON.parse(payload) as Record<string, unknown>)
}
