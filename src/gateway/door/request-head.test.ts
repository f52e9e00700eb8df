/** Which heads are read here, and that they mean what the general server takes them for. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { readRequestHead } from './request-head.ts'

const line = 'POST /v1/chat/completions HTTP/1.1\r\n'
const least = 'host: x\r\ncontent-length: 2\r\n'

test('an ordinary request', () => {
  const head = readRequestHead(`${line}Host: x\r\nContent-Length:\t2 \r\nX-Empty:\r\nx-name: a \xe9: b \r\n`)
  assert.deepEqual(head, {
    target: { kind: 'inference', route: 'chat/completions', orgId: null, deploymentId: null },
    headers: { host: 'x', 'content-length': '2', 'x-empty': '', 'x-name': 'a \xe9: b' },
    length: 2,
  })
  const named = readRequestHead(`POST /api/v1/public/deployments/mine/embeddings HTTP/1.1\r\n${least}`)
  assert.equal(named?.target.deploymentId, 'mine')
  assert.ok(readRequestHead(`${line}${least}Connection: Keep-Alive\r\n`))
})

test('everything else is for the general server', () => {
  for (const head of [
    '',
    line,
    `${line}host: x\r\n`,
    `${line}content-length: 2\r\n`,
    `GET /v1/chat/completions HTTP/1.1\r\n${least}`,
    `POST /v1/models HTTP/1.1\r\n${least}`,
    `POST /api/v1/keys HTTP/1.1\r\n${least}`,
    `POST /v1/chat/completions HTTP/1.0\r\n${least}`,
    `POST /v1/chat/completions  HTTP/1.1\r\n${least}`,
    `POST /v1/chat/completions\r\n${least}`,
    `${line}${least}content-length: 2\r\n`,
    `${line}${least}Host: y\r\n`,
    `${line}${least}x-a: 1\r\nX-A: 1\r\n`,
    `${line}${least}__proto__: 1\r\n`,
    `${line}${least}constructor: 1\r\n`,
    `${line}${least}transfer-encoding: chunked\r\n`,
    `${line}${least}transfer-encoding:\r\n`,
    `${line}${least}expect: 100-continue\r\n`,
    `${line}${least}upgrade: h2c\r\n`,
    `${line}${least}trailer: x\r\n`,
    `${line}${least}connection: close\r\n`,
    `${line}${least}connection: keep-alive, upgrade\r\n`,
    `${line}${least}x-a : 1\r\n`,
    `${line}${least} folded\r\n`,
    `${line}${least}no colon\r\n`,
    `${line}${least}: nameless\r\n`,
    `${line}${least}x-a: \x00\r\n`,
    `${line}${least}x-a: a\rb\r\n`,
    `${line}${least}x-a: a\nb: c\r\n`,
    `${line}${least}x(a): 1\r\n`,
    `${line}host: x\r\ncontent-length: -2\r\n`,
    `${line}host: x\r\ncontent-length: +2\r\n`,
    `${line}host: x\r\ncontent-length: 2, 2\r\n`,
    `${line}host: x\r\ncontent-length: 0x2\r\n`,
    `${line}host: x\r\ncontent-length:\r\n`,
    `${line}host: x\r\ncontent-length: 99999999999\r\n`,
  ])
    assert.equal(readRequestHead(head), null, JSON.stringify(head))
})

const server = createServer({ joinDuplicateHeaders: false }, (request, response) => {
  response.end(JSON.stringify({ url: request.url, headers: request.headers }))
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
after(() => {
  server.close()
  server.closeAllConnections()
})

/** What the general server makes of a head with a body of this many bytes; null = it refuses it. */
async function general(head: string, length: number): Promise<{ url: string; headers: IncomingHttpHeaders } | null> {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(`${head}\r\n${'x'.repeat(length)}`, 'latin1')
  let text = ''
  socket.setEncoding('utf8')
  socket.on('data', (piece: string) => {
    text += piece
    if (text.endsWith('0\r\n\r\n') || text.includes('}')) socket.end()
  })
  await once(socket, 'close')
  const body = /\{.*\}/s.exec(text)?.[0]
  return text.startsWith('HTTP/1.1 200') && body !== undefined ? JSON.parse(body) : null
}

const odd = fc.constantFrom('\r\n', '\n', '\r', ' ', '\t', ':', ',', 'x', '2', '\x7f', '\xe9', '\x0b', '"', '(', '-')
const oddText = fc.array(odd, { maxLength: 6 }).map((pieces) => pieces.join(''))
const known = fc.constantFrom(
  'host',
  'Content-Length',
  'x-a',
  'X-A',
  'transfer-encoding',
  'connection',
  'authorization',
)
const name = fc.oneof({ arbitrary: known, weight: 4 }, { arbitrary: oddText, weight: 1 })
const value = fc.oneof(fc.constantFrom('x', '2', 'keep-alive', 'chunked', 'Bearer a'), oddText)
const field = fc.tuple(name, fc.constantFrom(':', ': ', ' :', ':\t'), value).map((parts) => `${parts.join('')}\r\n`)
const anyHead = fc
  .tuple(
    fc.constantFrom('host: x\r\n', ''),
    fc.constantFrom('content-length: 3\r\n', ''),
    fc.array(field, { maxLength: 4 }),
  )
  .map(([host, length, fields]) => `${line}${host}${length}${fields.join('')}`)

test('what is read here the general server reads in the same way', async () => {
  let read = 0
  await fc.assert(
    fc.asyncProperty(anyHead, async (text) => {
      const head = readRequestHead(text)
      if (head === null || head.length > 100) return
      read += 1
      const other = await general(text, head.length)
      assert.deepEqual(other, { url: '/v1/chat/completions', headers: head.headers })
    }),
    { numRuns: 1_500 },
  )
  assert.ok(read > 50, `${read} heads were read here`)
})
