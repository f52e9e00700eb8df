/** Connections to engines that are real sockets and say what the test says: well, late, half, twice or nonsense. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { type Clock, systemClock, until } from '../../runtime/clock.ts'
import { Deadlines } from '../../runtime/deadlines.ts'
import { type Call, type Caller, Connections } from './connections.ts'
import type { Answer } from './response-reader.ts'
import { fetchSmall } from './small.ts'

const answerOf = (body: string, fields = '') =>
  `HTTP/1.1 200 OK\r\n${fields}content-type: text/plain\r\ncontent-length: ${body.length}\r\n\r\n${body}`
const get = 'GET /x HTTP/1.1\r\nhost: engine\r\n\r\n'
const wait = (what: string, probe: () => boolean | Promise<boolean>) => until(systemClock, what, 20_000, probe, 5)

/** An engine: `say` is called for every request, with its number on its connection and of all. */
class Engine {
  readonly sockets: Socket[] = []
  readonly closed: Socket[] = []
  requests = 0
  readonly server: Server

  constructor(say: (socket: Socket, onThis: number, ofAll: number) => void) {
    this.server = createServer((socket) => {
      this.sockets.push(socket)
      let onThis = 0
      socket.on('data', (piece) => {
        if (!piece.toString('latin1').startsWith('GET')) return
        this.requests += 1
        onThis += 1
        say(socket, onThis, this.requests)
      })
      socket.on('error', () => {})
      socket.on('close', () => this.closed.push(socket))
    })
  }
}

/** Writes down what it hears. */
class Ear implements Caller {
  call: Call | null = null
  heard: string[] = []
  body = ''
  error: Error | null = null
  wanted = true
  onData = (_ear: Ear) => {}

  sends(call: Call): boolean {
    this.heard.push('sends')
    this.call = call
    return this.wanted
  }
  began({ status }: Answer): void {
    this.heard.push(`began ${status}`)
  }
  data(bytes: Buffer, from: number, to: number): void {
    this.body += bytes.toString('latin1', from, to)
    this.onData(this)
  }
  ended(): void {
    this.heard.push('ended')
  }
  failed(error: Error): void {
    this.heard.push('failed')
    this.error = error
  }
  get over(): boolean {
    return this.heard.at(-1) === 'ended' || this.heard.at(-1) === 'failed'
  }
}

async function start(t: TestContext, engine: Engine, over: { max?: number; host?: string; clock?: Clock } = {}) {
  const host = over.host ?? '127.0.0.1'
  engine.server.listen(0, host)
  await once(engine.server, 'listening')
  const deadlines = new Deadlines(over.clock ?? systemClock)
  const address = { host, port: (engine.server.address() as AddressInfo).port }
  const limits = { maxConnections: over.max ?? 10, connectTimeoutMs: 10_000 }
  const connections = new Connections(address, limits, deadlines)
  t.after(() => {
    connections.destroy()
    deadlines.close()
    engine.server.close()
    for (const socket of engine.sockets) socket.destroy()
  })
  const send = (ear = new Ear(), body: Buffer | null = null, head = get) => {
    connections.send(head, body, ear)
    return ear
  }
  const ask = async (ear = new Ear()) => {
    send(ear)
    await wait('the answer', () => ear.over)
    return ear
  }
  return { connections, deadlines, address, send, ask }
}

const well = ['sends', 'began 200', 'ended']

test('one connection carries requests one after the other', async (t) => {
  const engine = new Engine((socket, n) => socket.write(answerOf(`answer ${n}`)))
  const { ask } = await start(t, engine)
  for (const n of [1, 2, 3]) {
    const ear = await ask()
    assert.deepEqual([ear.heard, ear.body], [well, `answer ${n}`])
  }
  assert.equal(engine.sockets.length, 1)
})

test('IPv6', async (t) => {
  const engine = new Engine((socket) => socket.write(answerOf('six')))
  const reachable = createServer().listen(0, '::1')
  const [result] = await Promise.race([once(reachable, 'listening').then(() => [true]), once(reachable, 'error')])
  reachable.close()
  if (result !== true) return t.skip('this machine has no IPv6')
  const { ask } = await start(t, engine, { host: '::1' })
  assert.equal((await ask()).body, 'six')
})

test('a connection that the engine closed while it was idle is not used again', async (t) => {
  const engine = new Engine((socket) => {
    socket.write(answerOf('once'))
    socket.end()
  })
  const { ask } = await start(t, engine)
  for (const n of [1, 2, 3]) {
    assert.deepEqual((await ask()).heard, well)
    await wait('it is closed', () => engine.closed.length === n)
  }
})

test('a connection is closed before the engine would, and not kept at all when that is at once', async (t) => {
  const engine = new Engine((socket) => socket.write(answerOf('x', 'keep-alive: timeout=1\r\n')))
  const { ask } = await start(t, engine)
  await ask()
  await wait('it is closed', () => engine.closed.length === 1)
  assert.deepEqual((await ask()).heard, well)
})

test('what nobody asked for ends an idle connection, and is never taken for an answer', async (t) => {
  const engine = new Engine((socket, _, n) => {
    socket.write(answerOf(`answer ${n}`))
    // In the next packet, when the first answer is over.
    if (n === 1) setImmediate(() => socket.write(answerOf('smuggled')))
    // In the same one.
    if (n === 2) socket.write(`${answerOf('smuggled')}`)
    if (n === 3) socket.end(`HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n`)
  })
  const { ask } = await start(t, engine)
  for (const n of [1, 2, 3, 4]) {
    const ear = await ask()
    assert.deepEqual([ear.heard, ear.body], [well, `answer ${n}`])
    if (n < 4) await wait('it is closed', () => engine.closed.length === n)
  }
})

test('interim answers are read over', async (t) => {
  const engine = new Engine((socket) => {
    socket.write('HTTP/1.1 100 Continue\r\n\r\n')
    setImmediate(() => socket.write(`HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n${answerOf('real')}`))
  })
  const { ask } = await start(t, engine)
  const ear = await ask()
  assert.deepEqual([ear.heard, ear.body], [well, 'real'])
})

test('a body that ends with the connection', async (t) => {
  const engine = new Engine((socket) => socket.end('HTTP/1.1 200 OK\r\n\r\nall of it'))
  const { ask } = await start(t, engine)
  const ear = await ask()
  assert.deepEqual([ear.heard, ear.body], [well, 'all of it'])
})

test('an answer that comes before the body is sent, on a connection that is not used again', async (t) => {
  const engine = new Engine((socket, _, n) => {
    if (n === 1) socket.pause()
    socket.write(answerOf(`answer ${n}`))
  })
  const { send, ask } = await start(t, engine)
  const body = Buffer.alloc(32 * 1024 * 1024, 'x')
  const early = send(new Ear(), body, `GET /x HTTP/1.1\r\ncontent-length: ${body.length}\r\n\r\n`)
  await wait('the answer', () => early.over)
  assert.deepEqual([early.heard, early.body], [well, 'answer 1'])
  assert.equal((await ask()).body, 'answer 2')
  assert.equal(engine.sockets.length, 2)
})

test('head and body arrive as they are, small and large', async (t) => {
  const received: Buffer[] = []
  const engine = new Engine(() => {})
  engine.server.on('connection', (socket: Socket) => socket.on('data', (piece: Buffer) => received.push(piece)))
  const { send } = await start(t, engine)
  for (const size of [0, 1, 1_000, 64 * 1024, 1_000_000]) {
    const head = `POST /x HTTP/1.1\r\nx-name: é\r\ncontent-length: ${size}\r\n\r\n`
    const body = Buffer.alloc(size, 'abcdefg')
    received.length = 0
    send(new Ear(), body, head)
    const all = Buffer.concat([Buffer.from(head, 'latin1'), body])
    await wait('all has come', () => received.reduce((sum, one) => sum + one.length, 0) >= all.length)
    assert.ok(Buffer.concat(received).equals(all), `${size}`)
  }
})

test('whoever aborts hears it at once, and the engine sees the connection close', async (t) => {
  const engine = new Engine((socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf'))
  const { send, ask } = await start(t, engine)
  const ear = send()
  await wait('half of it', () => ear.body === 'half')
  ear.call!.abort(new Error('enough'))
  assert.deepEqual([ear.heard.at(-1), ear.error?.message], ['failed', 'enough'])
  await wait('it is closed', () => engine.closed.length === 1)
  const second = new Ear()
  second.onData = ({ call }) => call!.abort(new Error('in the middle of a piece'))
  await ask(second)
  assert.deepEqual(second.heard, ['sends', 'began 200', 'failed'])
})

test('while a caller pauses the engine cannot go on, and nothing is lost', async (t) => {
  const piece = Buffer.alloc(64 * 1024, 'y')
  const pieces = 1_000
  let written = 0
  const engine = new Engine((socket) => {
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${piece.length * pieces}\r\n\r\n`)
    const more = () => {
      while (written < pieces) {
        written += 1
        if (!socket.write(piece)) return void socket.once('drain', more)
      }
    }
    more()
  })
  const { send } = await start(t, engine)
  const ear = new Ear()
  ear.onData = ({ call }) => call!.pause()
  send(ear)
  let before = -1
  await wait('the engine stands still', async () => {
    const still = written === before
    before = written
    await systemClock.sleep(50)
    return still && written === before && written > 0
  })
  assert.ok(written < pieces, 'the engine has not written all')
  assert.ok(ear.body.length < 2 * 1024 * 1024, `${ear.body.length} bytes came while paused`)
  ear.onData = () => {}
  ear.call!.resume()
  await wait('the end', () => ear.over)
  assert.deepEqual([ear.heard, ear.body.length], [well, piece.length * pieces])
})

test('a connection that was paused at the end of an answer serves the next', async (t) => {
  const engine = new Engine((socket, _, n) => socket.write(answerOf(`answer ${n}`)))
  const { ask } = await start(t, engine)
  const first = new Ear()
  first.onData = ({ call }) => call!.pause()
  await ask(first)
  assert.equal((await ask()).body, 'answer 2')
  assert.equal(engine.sockets.length, 1)
})

test('what is refused was never sent; what is cut off was', async (t) => {
  const engine = new Engine((socket, _, n) => {
    if (n === 2) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf')
    setImmediate(() => socket.resetAndDestroy())
  })
  const { ask } = await start(t, engine)
  assert.deepEqual((await ask()).heard, ['sends', 'failed'])
  assert.deepEqual((await ask()).heard, ['sends', 'began 200', 'failed'])
  engine.server.close()
  for (const socket of engine.sockets) socket.destroy()
  await once(engine.server, 'close')
  const refused = await ask()
  assert.deepEqual([refused.heard, (refused.error as NodeJS.ErrnoException).code], [['failed'], 'ECONNREFUSED'])
})

test('a connection that does not come about in time was never sent on', async (t) => {
  // Time flies: the limit has passed before the network has said a word.
  let now = 0
  const clock: Clock = { now: () => now, monotonicMs: () => now, sleep: async (ms) => void (now += ms) }
  const engine = new Engine((socket) => socket.write(answerOf('late')))
  const { ask } = await start(t, engine, { clock })
  const ear = await ask()
  assert.deepEqual([ear.heard, ear.error?.message], [['failed'], 'ETIMEDOUT'])
})

test('beyond the limit requests wait in order; those that are not wanted any more are passed over', async (t) => {
  const engine = new Engine((socket, _, n) => setImmediate(() => socket.write(answerOf(`answer ${n}`))))
  const { send } = await start(t, engine, { max: 1 })
  const first = send()
  const unwanted = Array.from({ length: 20_000 }, () => {
    const ear = new Ear()
    ear.wanted = false
    return send(ear)
  })
  const second = send()
  const third = send()
  await wait('all are over', () => third.over)
  assert.deepEqual([first.body, second.body, third.body], ['answer 1', 'answer 2', 'answer 3'])
  assert.ok(unwanted.every(({ heard }) => heard.join() === 'sends'))
  assert.deepEqual([engine.sockets.length, engine.requests], [1, 3])
})

test('a connection that breaks makes room for those that wait', async (t) => {
  const engine = new Engine((socket, _, n) => {
    if (n === 1) socket.destroy()
    else socket.write(answerOf('well'))
  })
  const { send } = await start(t, engine, { max: 1 })
  const ears = [send(), send(), send()]
  await wait('all are over', () => ears.every(({ over }) => over))
  assert.deepEqual(
    ears.map(({ heard }) => heard),
    [['sends', 'failed'], well, well],
  )
})

test('destroying ends what is under way, what waits and what comes', async (t) => {
  const engine = new Engine(() => {})
  const { connections, send } = await start(t, engine, { max: 1 })
  const sent = send()
  await wait('it is sent', () => engine.requests === 1)
  const waiting = send()
  connections.destroy()
  const late = send()
  assert.deepEqual([sent.heard, waiting.heard, late.heard], [['sends', 'failed'], ['failed'], ['failed']])
  await wait('it is closed', () => engine.closed.length === 1)
})

test('probes: read whole within limits, or nothing', async (t) => {
  let say = answerOf('{"é":1}')
  const engine = new Engine((socket) => void socket.write(say, 'utf8'))
  const { connections, deadlines } = await start(t, engine)
  const head = 'GET /health HTTP/1.1\r\nhost: engine\r\n'
  const probe = (timeoutMs = 10_000) => fetchSmall(connections, head, { timeoutMs, maximumBytes: 100 }, deadlines)
  say = 'HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{"é":1}'
  assert.deepEqual(await probe(), { status: 200, text: '{"é":1}' })
  say = answerOf('x'.repeat(101))
  assert.equal(await probe(), null)
  say = 'HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n'
  assert.equal(await probe(60), null)
  say = 'nonsense'
  assert.equal(await probe(), null)
  say = answerOf('well')
  assert.deepEqual(await probe(), { status: 200, text: 'well' })
})

const noise = fc.oneof(
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  fc
    .array(
      fc.constantFrom(
        'HTTP/1.1 200 OK',
        '\r\n',
        '\r\n\r\n',
        'content-length: 3',
        'transfer-encoding: chunked',
        '3',
        'abc',
        '0',
        ':',
      ),
    )
    .map((words) => Buffer.from(words.join(''))),
)

test('whatever an engine says before it hangs up, every request ends once', async (t) => {
  let say: Buffer[] = []
  const engine = new Engine(async (socket) => {
    for (const piece of say) {
      socket.write(piece)
      await new Promise(setImmediate)
    }
    socket.end()
  })
  const { ask } = await start(t, engine)
  const property = fc.asyncProperty(fc.array(noise, { maxLength: 4 }), async (pieces) => {
    say = pieces
    const { heard } = await ask()
    assert.equal(heard.filter((word) => word === 'ended' || word === 'failed').length, 1)
    assert.equal(heard[0], 'sends')
  })
  await fc.assert(property, { numRuns: 150 })
})
