/** The clients of the bench: a number of connections that each send a request, read the whole answer, and go on. */
import { connect, type Socket } from 'node:net'

export interface Load {
  port: number
  connections: number
  requests: number
  stream: boolean
}
export interface Loaded {
  answered: number
  failed: number
  /** Data events of streams. */
  events: number
}

const content = 'Explain how a suspension bridge carries its load, step by step. '.repeat(12)

process.on('message', (load: Load) => void run(load).then((loaded) => process.send!(loaded)))
process.on('disconnect', () => process.exit(0))
process.send!({ ready: true })

async function run(load: Load): Promise<Loaded> {
  const body = JSON.stringify({
    model: 'bench',
    messages: [{ role: 'user', content }],
    max_tokens: 64,
    ...(load.stream ? { stream: true } : {}),
  })
  const request = Buffer.from(
    'POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer bench-key\r\n' +
      `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  )
  const total: Loaded = { answered: 0, failed: 0, events: 0 }
  let left = load.requests
  const more = () => left-- > 0
  await Promise.all(Array.from({ length: load.connections }, () => client(load, request, total, more)))
  return total
}

function client(load: Load, request: Buffer, total: Loaded, more: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const socket: Socket = connect({ port: load.port, host: '127.0.0.1', noDelay: true })
    let text = ''
    const next = () => {
      text = ''
      if (more()) socket.write(request)
      else socket.destroy()
    }
    socket.setEncoding('latin1')
    socket.on('connect', next)
    socket.on('data', (piece: string) => {
      text += piece
      if (!isWhole(text, load.stream)) return
      if (text.startsWith('HTTP/1.1 200')) total.answered += 1
      else total.failed += 1
      if (load.stream) total.events += text.split('data: {').length - 1
      next()
    })
    socket.on('error', () => {
      total.failed += 1
    })
    socket.on('close', () => resolve())
  })
}

function isWhole(text: string, stream: boolean): boolean {
  const end = text.indexOf('\r\n\r\n')
  if (end === -1) return false
  if (stream && text.startsWith('HTTP/1.1 200')) return text.endsWith('0\r\n\r\n')
  const length = Number(/content-length: (\d+)/i.exec(text.slice(0, end))?.[1] ?? 0)
  return text.length >= end + 4 + length
}
