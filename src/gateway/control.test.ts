import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { systemClock, until } from '../runtime/clock.ts'
import { makeWhoAsks } from './forwarded.ts'
import { loadSnapshot, saveSnapshot } from './snapshot.ts'
import { type Bench, keyOf, routeOf, startBench } from './testing.ts'

const folder = mkdtempSync(join(tmpdir(), 'paddock-gw-'))
const socketPath = join(folder, 'c.sock')
let control: Server
let answer: RequestListener
let bench: Bench
before(async () => {
  bench = await startBench({ control: socketPath, over: { 'gateway.trusted_proxies': ['127.0.0.0/8'] } })
  await startControl()
})
after(async () => {
  await bench.gateway.close({ drainMs: 0 })
  await stopControl()
  rmSync(folder, { recursive: true, force: true })
})
beforeEach(() => {
  answer = (_request, response) => response.end('{}')
})
function startControl(): Promise<void> {
  control = createServer((request, response) => answer(request, response))
  return new Promise((resolve) => control.listen(socketPath, () => resolve()))
}
function stopControl(): Promise<void> {
  return new Promise((resolve) => {
    control.close(() => resolve())
    control.closeAllConnections()
  })
}

test('everything else goes to control, with who asks', async () => {
  let seen: IncomingMessage['headers'] = {}
  let path = ''
  answer = (request, response) => {
    seen = request.headers
    path = request.url ?? ''
    response.writeHead(201, { 'set-cookie': ['a=1', 'b=2'], 'x-own': '1' })
    request.pipe(response)
  }
  const response = await bench.send('/api/v1/public/deployments?x=%2F', {
    method: 'POST',
    body: '{"name":"n"}',
    headers: { 'x-paddock-forwarded': '{"client":"6.6.6.6"}', 'x-forwarded-for': '9.9.9.9, 127.0.0.2' },
  })
  assert.equal(response.status, 201)
  assert.equal(await response.text(), '{"name":"n"}')
  assert.deepEqual(response.headers.getSetCookie(), ['a=1', 'b=2'])
  assert.equal(path, '/api/v1/public/deployments?x=%2F')
  const host = bench.url.slice('http://'.length)
  assert.deepEqual(JSON.parse(String(seen['x-paddock-forwarded'])), { client: '9.9.9.9', proto: 'http', host })
  assert.equal(seen.authorization, 'Bearer a')
  assert.equal(bench.settled.length, 0)
})

test('both ways stream', async () => {
  answer = (request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    request.on('data', (piece) => response.write(piece))
    request.on('end', () => response.end())
  }
  const { readable, writable } = new TransformStream()
  const writer = writable.getWriter()
  void writer.write(Buffer.from('one'))
  const response = await bench.send('/x', { method: 'POST', body: readable, duplex: 'half' } as object)
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  assert.equal((await reader.read()).value, 'one')
  void writer.write(Buffer.from('two'))
  assert.equal((await reader.read()).value, 'two')
  await writer.close()
  assert.equal((await reader.read()).done, true)
})

test('a client that leaves ends the request at control', async () => {
  let left = false
  answer = (_request, response) => {
    response.write('begun')
    response.on('close', () => {
      left = true
    })
  }
  const leaving = new AbortController()
  const response = await bench.send('/follow', { signal: leaving.signal })
  leaving.abort()
  await assert.rejects(response.text())
  await until(systemClock, 'control hears it', 2_000, () => left)
})

test('ready when control is', async () => {
  const ready = async () => {
    const response = await bench.send('/readyz', { key: null })
    return [response.status, ((await response.json()) as { problems: string[] }).problems]
  }
  answer = (_request, response) => response.end('{"ok":true,"problems":[]}')
  assert.deepEqual(await ready(), [200, []])
  answer = (_request, response) => response.writeHead(503).end('{"ok":false,"problems":["No database."]}')
  assert.deepEqual(await ready(), [503, ['No database.']])
  answer = () => {}
  assert.deepEqual(await ready(), [503, ['Control did not answer within 1 s.']])
})

test('control is away, and comes back', async () => {
  answer = (_request, response) => response.end('{}')
  assert.equal((await bench.send('/x')).status, 200)
  await stopControl()
  const response = await bench.send('/api/v1/public/deployments', { method: 'POST', body: '{}' })
  assert.equal(response.status, 503)
  assert.ok(Number(response.headers.get('retry-after')) > 0)
  const { error } = (await response.json()) as { error: { code: string; action: string; request_id: string } }
  assert.equal(error.code, 'unavailable')
  assert.match(error.request_id, /^req_/)
  assert.equal((await bench.send('/readyz')).status, 503)
  assert.equal((await bench.send('/healthz')).status, 200)
  await startControl()
  assert.equal((await bench.send('/x')).status, 200)
})

test('control dies in mid-answer: the client sees that it is incomplete', async () => {
  answer = (request, response) => {
    response.writeHead(200, { 'content-length': '100' })
    response.write('half', () => request.socket.destroy())
  }
  await assert.rejects(bench.send('/x').then((response) => response.text()))
})

test('only trusted proxies are believed', () => {
  const ask = (remoteAddress: string, headers: Record<string, string>) =>
    ({ socket: { remoteAddress }, headers: { host: 'h', ...headers } }) as unknown as IncomingMessage
  const claims = { 'x-forwarded-for': '1.2.3.4', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'pub' }
  const direct = { client: '8.8.8.8', proto: 'http', host: 'h' }
  assert.deepEqual(makeWhoAsks([])(ask('::ffff:8.8.8.8', claims)), direct)
  assert.deepEqual(makeWhoAsks(['10.0.0.0/8'])(ask('8.8.8.8', claims)), direct)
  assert.deepEqual(makeWhoAsks(['10.0.0.0/8', 'fd00::/8'])(ask('10.1.1.1', claims)), {
    client: '1.2.3.4',
    proto: 'https',
    host: 'pub',
  })
  assert.throws(() => makeWhoAsks(['10.0.0.0/99']), /trusted_proxies/)
  assert.throws(() => makeWhoAsks(['proxy.example']), /trusted_proxies/)
})

test('a snapshot: only for its owner, not too old, not damaged', async () => {
  const path = join(folder, 'tables.json')
  const snapshot = { keyring: [keyOf({ secret: 's' })], routes: [routeOf()], savedAt: 1_000_000 }
  assert.equal(loadSnapshot(path, 1_000_000, 900), null)
  await saveSnapshot(path, snapshot, systemClock)
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.deepEqual(loadSnapshot(path, 1_900_000, 900), snapshot)
  assert.equal(loadSnapshot(path, 1_900_001, 900), null)
  for (const text of ['{"format":1,"keyring":[', 'null', '{"format":2,"keyring":[],"routes":[],"savedAt":1000000}']) {
    writeFileSync(path, text)
    assert.equal(loadSnapshot(path, 1_000_000, 900), null, text)
  }
})
