/** Many answers at once, cut anywhere, to clients quick and slow: what one asked for never reaches another. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { systemClock } from '../runtime/clock.ts'
import { type Bench, MockEngine, replicaOf, routeOf, startBench } from './testing.ts'

const clients = 24
const engine = new MockEngine()
let bench: Bench
before(async () => {
  await engine.listen()
  bench = await startBench({ routes: [routeOf({ replicas: [replicaOf(engine.port)] })] })
})
after(async () => {
  await bench.gateway.close({ drainMs: 0 })
  await engine.close()
})

/** Pieces of lengths that differ, so that the network cuts events anywhere; the same for the same name. */
function* pieces(text: string, seed: number): Generator<string> {
  for (let at = 0, step = seed; at < text.length; step = (step * 31 + 7) % 9_973) {
    const size = 1 + (step % 4_000)
    yield text.slice(at, at + size)
    at += size
  }
}

/** Its name over and over: whatever is not its own is seen. */
const wordsOf = (name: string) => `${name} `.repeat(400)
const event = (content: string) => `data: {"choices":[{"delta":{"content":${JSON.stringify(content)}}}]}\n\n`

engine.behave = async ({ body }, response) => {
  const { content: name } = (body.messages as { content: string }[])[0]!
  const plain = body.stream !== true
  response.writeHead(200, { 'content-type': plain ? 'application/json' : 'text/event-stream' })
  const whole = plain
    ? JSON.stringify({ choices: [{ message: { content: wordsOf(name).repeat(20) } }] })
    : `${event(wordsOf(name).repeat(10)).repeat(20)}data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n`
  const seed = name.length * 17 + Number(name.slice(1))
  for (const piece of pieces(whole, seed)) {
    response.write(piece)
    await new Promise(setImmediate)
  }
  response.end()
}

const shapes = {
  'plain answers': {},
  streams: { stream: true },
} as const
type What = keyof typeof shapes

/** All that the client reads; a slow one stops reading again and again. `last`: the connection ends with the answer. */
function ask(name: string, what: What, { slow, last }: { slow: boolean; last: boolean }): Promise<string> {
  const body = JSON.stringify({ model: 'mine', ...shapes[what], messages: [{ role: 'user', content: name }] })
  return new Promise((resolve, reject) => {
    const socket = connect({ port: bench.gateway.port, host: '127.0.0.1' })
    let text = ''
    socket.setEncoding('latin1')
    socket.on('data', (piece: string) => {
      text += piece
      if (!last && isWhole(text)) socket.destroy()
      if (!slow) return
      socket.pause()
      void systemClock.sleep(3).then(() => socket.resume())
    })
    socket.on('error', reject)
    socket.on('close', () => resolve(text))
    const fields = `host: x\r\nauthorization: Bearer a\r\ncontent-length: ${body.length}\r\n${last ? 'connection: close\r\n' : ''}`
    socket.write(`POST /v1/chat/completions HTTP/1.1\r\n${fields}\r\n${body}`)
  })
}

function isWhole(answer: string): boolean {
  const start = answer.indexOf('\r\n\r\n') + 4
  if (start === 3) return false
  const length = /\r\ncontent-length: (\d+)/i.exec(answer.slice(0, start))?.[1]
  return length === undefined ? answer.endsWith('\r\n0\r\n\r\n') : answer.length >= start + Number(length)
}

/** The words of an answer without framing, which may cut them. */
function words(answer: string): string {
  const start = answer.indexOf('\r\n\r\n') + 4
  if (!/transfer-encoding: chunked/i.test(answer.slice(0, start))) return answer.slice(start)
  let out = ''
  for (let at = start; ; ) {
    const end = answer.indexOf('\r\n', at)
    const size = Number.parseInt(answer.slice(at, end), 16)
    if (!(size > 0)) return out
    out += answer.slice(end + 2, end + 2 + size)
    at = end + 2 + size + 2
  }
}

for (const what of Object.keys(shapes) as What[])
  test(`${what}: each client gets its own, whole`, async () => {
    const names = Array.from({ length: clients }, (_, n) => `n${1000 + n}`)
    const answers = await Promise.all(names.map((name, n) => ask(name, what, { slow: n % 3 === 0, last: n % 2 === 0 })))
    for (const [n, name] of names.entries()) {
      const said = [...words(answers[n]!).matchAll(/"content":"([^"]*)"/g)].map(([, content]) => content).join('')
      const expected = wordsOf(name).repeat(what === 'plain answers' ? 20 : 200)
      assert.ok(said === expected, `${name}: ${said.length} of ${expected.length} characters, or not its own`)
    }
  })
