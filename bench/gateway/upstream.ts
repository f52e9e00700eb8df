/**
 * The engine of the bench, on the same server as our own engine and with canned answers, so that it costs little beside
 * what is measured. A plain request is answered at once; a stream comes in chunks at a steady pace.
 */
import { createServer, type ServerResponse } from 'node:http'

const chunks = 50
const paceMs = 10

const head = { id: 'chatcmpl-1', created: 1, model: 'served' }
const usage = (n: number) => ({ prompt_tokens: 20, completion_tokens: n, total_tokens: 20 + n })
const plain = JSON.stringify({
  ...head,
  object: 'chat.completion',
  choices: [{ index: 0, message: { role: 'assistant', content: 'word '.repeat(60) }, finish_reason: 'stop' }],
  usage: usage(60),
})
const plainHead = { 'content-type': 'application/json', 'content-length': plain.length }

const server = createServer({ noDelay: true, keepAliveTimeout: 60_000 }, (request, response) => {
  const pieces: Buffer[] = []
  request.on('data', (piece) => pieces.push(piece))
  request.on('end', () => {
    const body = Buffer.concat(pieces).toString('latin1')
    if (body.includes('"stream":true')) stream(response, body.includes('continuous_usage_stats'))
    else response.writeHead(200, plainHead).end(plain)
  })
})

function stream(response: ServerResponse, withUsage: boolean): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  let n = 0
  const timer = setInterval(() => {
    n += 1
    const event = {
      ...head,
      object: 'chat.completion.chunk',
      choices: [{ index: 0, delta: { content: 'word ' }, finish_reason: n === chunks ? 'stop' : null }],
      ...(withUsage ? { usage: usage(n) } : {}),
    }
    response.write(`data: ${JSON.stringify(event)}\n\n`)
    if (n < chunks) return
    clearInterval(timer)
    response.end('data: [DONE]\n\n')
  }, paceMs)
  response.on('close', () => clearInterval(timer))
}

server.listen(0, '127.0.0.1', () => process.send!({ port: (server.address() as { port: number }).port }))
process.on('disconnect', () => process.exit(0))
