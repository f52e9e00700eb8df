import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type Bench, startBench } from './testing.ts'

const uploadPath = '/api/v1/public/models/upload'
const bytesPerSecond = 1024 * 1024
const folder = mkdtempSync(join(tmpdir(), 'paddock-gw-'))
const socketPath = join(folder, 'c.sock')
let control: Server
let answer: (request: IncomingMessage, response: ServerResponse) => void
let bench: Bench
before(async () => {
  control = createServer((request, response) => answer(request, response))
  await new Promise<void>((ready) => control.listen(socketPath, ready))
  const over = { 'gateway.max_body_bytes': 1024, 'gateway.upload_bytes_per_second': bytesPerSecond }
  bench = await startBench({ control: socketPath, over })
})
after(async () => {
  await bench.gateway.close({ drainMs: 0 })
  control.closeAllConnections()
  control.close()
  rmSync(folder, { recursive: true, force: true })
})

test('an upload may be larger than other bodies, arrives whole, and no faster than the rate', async () => {
  answer = (request, response) => {
    const hash = createHash('sha256')
    request.on('data', (piece) => hash.update(piece)).on('end', () => response.end(hash.digest('hex')))
  }
  const body = Buffer.alloc(bytesPerSecond / 2, 'model')
  const from = performance.now()
  const response = await bench.send(uploadPath, { method: 'POST', body })
  assert.equal(await response.text(), createHash('sha256').update(body).digest('hex'))
  assert.ok(performance.now() - from >= 400, `${performance.now() - from} ms`)
})

test('what only resembles an upload has the limit of all bodies', async () => {
  answer = (_request, response) => response.end('{}')
  const body = Buffer.alloc(4096)
  for (const [method, path] of [
    ['POST', '/api/v1/public/models'],
    ['POST', `${uploadPath}s`],
    ['POST', `/x?a=${uploadPath}`],
    ['PUT', uploadPath],
  ] as const)
    assert.equal((await bench.send(path, { method, body })).status, 413, `${method} ${path}`)
})

test('control may refuse an upload before it has read it', async () => {
  answer = (_request, response) => response.writeHead(401).end('{"refused":true}')
  const response = await bench.send(uploadPath, { method: 'POST', body: Buffer.alloc(64 * 1024) })
  assert.equal(response.status, 401)
  assert.deepEqual(await response.json(), { refused: true })
})

test('an upload that control refuses halfway: the client sees why, and little more is read', async () => {
  let seen = 0
  let abandoned = false
  answer = (request, response) => {
    request.once('close', () => (abandoned = true))
    request.on('data', (piece: Buffer) => {
      seen += piece.length
      if (response.headersSent || seen < 200_000) return
      request.pause()
      response.writeHead(422, { 'content-type': 'application/json' }).end('{"refused":"header"}')
    })
  }
  const { status, text, sent } = await sendForEver()
  assert.deepEqual([status, text], [422, '{"refused":"header"}'])
  assert.ok(sent < 32 * 1024 * 1024, `${sent} bytes were taken`)
  assert.ok(abandoned || seen < 2_000_000, `${seen} bytes went on to control`)
})

test('control dies while an upload comes: 503, and the server goes on', async () => {
  answer = (request) => {
    request.once('data', () => request.socket.destroy())
  }
  const { status } = await sendForEver()
  assert.equal(status, 503)
})

/** Sends until it is answered. `sent`: bytes that were taken from it until the connection ended. */
function sendForEver(): Promise<{ status: number; text: string; sent: number }> {
  return new Promise((resolve, reject) => {
    const { port } = new URL(bench.url)
    const headers = { authorization: 'Bearer a', 'content-type': 'multipart/form-data; boundary=b' }
    const outgoing = request({ port, host: '127.0.0.1', method: 'POST', path: uploadPath, headers })
    let sent = 0
    let isOver = false
    const piece = Buffer.alloc(64 * 1024)
    const send = (): void => {
      while (!isOver) {
        sent += piece.length
        if (!outgoing.write(piece)) return void outgoing.once('drain', send)
      }
    }
    outgoing.on('error', (error) => (isOver ? undefined : reject(error)))
    outgoing.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (more: string) => (text += more))
      response.on('error', () => {})
      response.on('close', () => {
        isOver = true
        outgoing.destroy()
        resolve({ status: response.statusCode ?? 0, text, sent })
      })
    })
    send()
  })
}
