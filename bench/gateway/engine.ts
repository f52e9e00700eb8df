/**
 * The engine of the bench: canned answers over bare sockets, so that it costs little beside what is measured. A plain
 * request is answered at once; a stream has `max_tokens` events, the first at once, then `seed` milliseconds apart. It says when a connection
 * was closed in the middle of a stream, by the clock that all processes of the machine share.
 */
import { createServer, type Socket } from 'node:net'

interface Stream {
  socket: Socket
  pieces: readonly Buffer[]
  sent: number
  dueMs: number
  paceMs: number
}

const head = { id: 'chatcmpl-1', created: 1, model: 'served' }
const usage = (n: number) => ({ prompt_tokens: 20, completion_tokens: n, total_tokens: 20 + n })
const plainBody = JSON.stringify({
  ...head,
  object: 'chat.completion',
  choices: [{ index: 0, message: { role: 'assistant', content: 'word '.repeat(60) }, finish_reason: 'stop' }],
  usage: usage(60),
})
const plain = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${plainBody.length}\r\n\r\n${plainBody}`,
)
const streamHead = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n'
const tickMs = 2

const streams = new Set<Stream>()
const scripts = new Map<string, Buffer[]>()
/** `process.hrtime` of closed streams, in the order of closing; taken by the bench. */
let closedAt: string[] = []

const server = createServer({ noDelay: true }, (socket) => {
  let pieces: Buffer[] = []
  let size = 0
  let wanted = 0
  let stream: Stream | null = null
  socket.on('data', (piece: Buffer) => {
    pieces.push(piece)
    size += piece.length
    if (wanted === 0) wanted = sizeOf(Buffer.concat(pieces))
    if (wanted === 0 || size < wanted) return
    const text = Buffer.concat(pieces).toString('latin1')
    pieces = []
    size = 0
    wanted = 0
    if (!text.includes('"stream":true')) {
      socket.write(plain)
      return
    }
    stream = begin(socket, text)
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    if (stream === null || !streams.delete(stream)) return
    closedAt.push(String(process.hrtime.bigint()))
  })
})

/** Bytes of head and body; 0 = the head is not whole yet. */
function sizeOf(bytes: Buffer): number {
  const end = bytes.indexOf('\r\n\r\n')
  if (end === -1) return 0
  const length = /content-length: *(\d+)/i.exec(bytes.toString('latin1', 0, end))?.[1] ?? '0'
  return end + 4 + Number(length)
}

function begin(socket: Socket, text: string): Stream {
  const events = Number(/"max_tokens":(\d+)/.exec(text)?.[1] ?? 50)
  const paceMs = Number(/"seed":(\d+)/.exec(text)?.[1] ?? 10)
  const stream: Stream = {
    socket,
    pieces: script(events, text.includes('"continuous_usage_stats":true')),
    sent: 1,
    dueMs: performance.now() + paceMs,
    paceMs,
  }
  socket.write(streamHead)
  socket.write(stream.pieces[0]!)
  if (events > 1) streams.add(stream)
  return stream
}

function script(events: number, withUsage: boolean): Buffer[] {
  const key = `${events} ${withUsage}`
  let pieces = scripts.get(key)
  if (pieces === undefined)
    scripts.set(key, (pieces = Array.from({ length: events }, (_, n) => event(n + 1, events, withUsage))))
  return pieces
}

function event(n: number, of: number, withUsage: boolean): Buffer {
  const data = JSON.stringify({
    ...head,
    object: 'chat.completion.chunk',
    choices: [{ index: 0, delta: { content: 'word ' }, finish_reason: n === of ? 'stop' : null }],
    ...(withUsage ? { usage: usage(n) } : {}),
  })
  const chunk = chunked(`data: ${data}\n\n`)
  return Buffer.from(n === of ? `${chunk}${chunked('data: [DONE]\n\n')}0\r\n\r\n` : chunk)
}

function chunked(text: string): string {
  return `${text.length.toString(16)}\r\n${text}\r\n`
}

setInterval(() => {
  const now = performance.now()
  for (const stream of streams) {
    if (stream.dueMs > now) continue
    stream.socket.write(stream.pieces[stream.sent]!)
    stream.sent += 1
    stream.dueMs += stream.paceMs
    if (stream.sent === stream.pieces.length) streams.delete(stream)
  }
}, tickMs)

server.listen(0, '127.0.0.1', () => process.send!({ port: (server.address() as { port: number }).port }))
process.on('message', () => {
  process.send!({ closedAt })
  closedAt = []
})
process.on('disconnect', () => process.exit(0))
