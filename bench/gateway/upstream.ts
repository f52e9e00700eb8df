/**
 * The engine of the bench: plain sockets and canned bytes, so that it costs little beside what is measured. A plain
 * request is answered at once; a stream comes in chunks at a steady pace.
 */
import { createServer, type Socket } from 'node:net'

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
const plainAnswer = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${plain.length}\r\n\r\n${plain}`,
)
const streamHead = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n'

const server = createServer({ noDelay: true }, (socket) => {
  let text = ''
  socket.setEncoding('latin1')
  socket.on('error', () => {})
  socket.on('data', (piece) => {
    text += piece
    for (;;) {
      const end = text.indexOf('\r\n\r\n')
      if (end === -1) return
      const length = Number(/content-length: (\d+)/i.exec(text.slice(0, end))?.[1] ?? 0)
      if (text.length < end + 4 + length) return
      const body = text.slice(end + 4, end + 4 + length)
      text = text.slice(end + 4 + length)
      if (body.includes('"stream":true')) stream(socket, body.includes('continuous_usage_stats'))
      else socket.write(plainAnswer)
    }
  })
})

function stream(socket: Socket, withUsage: boolean): void {
  socket.write(streamHead)
  let n = 0
  const timer = setInterval(() => {
    if (socket.destroyed) return clearInterval(timer)
    n += 1
    const event = {
      ...head,
      object: 'chat.completion.chunk',
      choices: [{ index: 0, delta: { content: 'word ' }, finish_reason: n === chunks ? 'stop' : null }],
      ...(withUsage ? { usage: usage(n) } : {}),
    }
    const text = `data: ${JSON.stringify(event)}\n\n${n === chunks ? 'data: [DONE]\n\n' : ''}`
    socket.write(`${text.length.toString(16)}\r\n${text}\r\n`)
    if (n < chunks) return
    clearInterval(timer)
    socket.write('0\r\n\r\n')
  }, paceMs)
}

server.listen(0, '127.0.0.1', () => process.send!({ port: (server.address() as { port: number }).port }))
process.on('disconnect', () => process.exit(0))
