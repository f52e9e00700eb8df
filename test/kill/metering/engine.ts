/**
 * An engine in a process of its own that nobody kills: it writes down every token that it serves, by request. What it
 * has written down is what the ledger is compared with. Started by fork; answers the message `log` with all of it.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** One serving of a request; a request that is sent again has several. */
export interface Serving {
  prompt: number
  completion: number
  cached: number
  /** The engine got to the end of its answer. */
  finished: boolean
}
export type ServedLog = Record<string, Serving[]>

const tokenPauseMs = 3
const log: ServedLog = {}

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => void serve(request, response))

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.url === '/health') {
    response.writeHead(200).end('{"status":"ok"}')
    return
  }
  let text = ''
  for await (const piece of request.setEncoding('utf8')) text += piece
  const asked = JSON.parse(text) as {
    model: string
    stream?: boolean
    max_tokens: number
    messages: { content: string }[]
  }
  const prompt = asked.messages[0]!.content.length
  const serving: Serving = { prompt, completion: 0, cached: prompt % 7, finished: false }
  const id = String(request.headers['x-request-id'])
  ;(log[id] ??= []).push(serving)
  if (asked.stream) await stream(asked, response, serving)
  else await plain(asked, response, serving)
}

async function plain(
  asked: { model: string; max_tokens: number },
  response: ServerResponse,
  serving: Serving,
): Promise<void> {
  await pause(tokenPauseMs * asked.max_tokens)
  serving.completion = asked.max_tokens
  serving.finished = true
  const choices = [
    { index: 0, message: { role: 'assistant', content: 'x'.repeat(serving.completion) }, finish_reason: 'stop' },
  ]
  const answer = { id: 'chatcmpl-1', object: 'chat.completion', model: asked.model, choices, usage: usageOf(serving) }
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
}

async function stream(
  asked: { model: string; max_tokens: number },
  response: ServerResponse,
  serving: Serving,
): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const head = { id: 'chatcmpl-1', object: 'chat.completion.chunk', model: asked.model }
  for (let n = 0; n < asked.max_tokens; n++) {
    await pause(tokenPauseMs)
    if (response.destroyed) return
    serving.completion += 1
    const choices = [{ index: 0, delta: { content: 'x' }, finish_reason: null }]
    response.write(`data: ${JSON.stringify({ ...head, choices, usage: usageOf(serving) })}\n\n`)
  }
  serving.finished = true
  response.end(`data: ${JSON.stringify({ ...head, choices: [], usage: usageOf(serving) })}\n\ndata: [DONE]\n\n`)
}

function usageOf({ prompt, completion, cached }: Serving): object {
  const prompt_tokens_details = { cached_tokens: cached }
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details,
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

process.on('message', (message) => {
  if (message === 'log') process.send!({ log })
})
process.on('disconnect', () => process.exit(0))
server.listen(0, '127.0.0.1', () => process.send!({ port: (server.address() as AddressInfo).port }))
