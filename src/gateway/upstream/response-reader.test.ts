/** Answers as engines write them, cut by the network anywhere; and bytes that are no answer. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Answer, type AnswerSink, ResponseReader } from './response-reader.ts'

/** What came out, with the body in one piece. */
class Seen implements AnswerSink {
  answer: Answer | null = null
  body = ''
  ends = 0

  began({ status, contentType }: Answer): void {
    assert.equal(this.answer, null, 'an answer begins once')
    this.answer = { status, contentType }
  }

  data(bytes: Buffer, from: number, to: number): void {
    assert.ok(this.answer !== null && this.ends === 0, 'a body stands between begin and end')
    assert.ok(from < to)
    this.body += bytes.toString('latin1', from, to)
  }

  ended(): void {
    this.ends += 1
  }
}

/** As the network has it: in a buffer for all, behind which older bytes stand. */
const arrival = Buffer.alloc(256 * 1024)

function arrive(reader: ResponseReader, piece: Buffer): void {
  arrival.fill('5\r\nstale\r\n\r\n', 0, piece.length + 100)
  piece.copy(arrival)
  reader.push(arrival, piece.length)
}

function read(pieces: readonly Buffer[], closes: boolean) {
  const seen = new Seen()
  const reader = new ResponseReader(seen)
  for (const piece of pieces) arrive(reader, piece)
  if (closes) reader.closed()
  return { answer: seen.answer, body: seen.body, ends: seen.ends, over: reader.over, reusable: reader.reusable }
}

const one = (text: string, closes = false) => read([Buffer.from(text, 'latin1')], closes)
const whole = (status: number, contentType: string, body: string, reusable: boolean) => ({
  answer: { status, contentType },
  body,
  ends: 1,
  over: true,
  reusable,
})

test('the ways in which an answer is framed', () => {
  const type = 'content-type: text/plain\r\n'
  const say = (rest: string, closes = false) => one(`HTTP/1.1 200 OK\r\n${type}${rest}`, closes)
  assert.deepEqual(say('content-length: 2\r\n\r\nhi'), whole(200, 'text/plain', 'hi', true))
  assert.deepEqual(say('Content-Length:2\r\ncontent-length: 2\r\n\r\nhi'), whole(200, 'text/plain', 'hi', true))
  assert.deepEqual(say('content-length: 0\r\n\r\n'), whole(200, 'text/plain', '', true))
  const chunked = 'transfer-encoding: Chunked\r\n\r\n1;a="b"\r\nh\r\n1 \r\ni\r\n0\r\nx-trailer: 1\r\n\r\n'
  assert.deepEqual(say(chunked), whole(200, 'text/plain', 'hi', true))
  assert.deepEqual(say('\r\nhi', true), whole(200, 'text/plain', 'hi', false))
  assert.deepEqual(say(`content-length: 9\r\n${chunked}`), whole(200, 'text/plain', 'hi', false))
  assert.deepEqual(one('HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n'), whole(204, '', '', true))
  assert.deepEqual(one('HTTP/1.1 304\r\n\r\n'), whole(304, '', '', true))
})

test('when a connection may be used again', () => {
  const reusable = (head: string) => one(`${head}\r\ncontent-length: 0\r\n\r\n`).reusable
  assert.equal(reusable('HTTP/1.1 200 OK'), true)
  assert.equal(reusable('HTTP/1.1 200 OK\r\nConnection: close'), false)
  assert.equal(reusable('HTTP/1.0 200 OK'), false)
  assert.equal(reusable('HTTP/1.0 200 OK\r\nconnection: Keep-Alive'), true)
  // A second answer that nobody asked for.
  assert.equal(one('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n').reusable, false)
})

test('how long the engine keeps an idle connection', () => {
  const kept = (field: string) => {
    const reader = new ResponseReader(new Seen())
    reader.push(Buffer.from(`HTTP/1.1 200 OK\r\n${field}content-length: 0\r\n\r\n`))
    const first = reader.keptSeconds
    reader.reset()
    assert.equal(reader.keptSeconds, null)
    return first
  }
  assert.equal(kept('Keep-Alive: max=5, timeout=72\r\n'), 72)
  assert.equal(kept('keep-alive: timeout=soon\r\n'), null)
  assert.equal(kept(''), null)
})

test('what no engine may send is an error at once', () => {
  const ok = 'HTTP/1.1 200 OK\r\n'
  for (const bytes of [
    'SSH-2.0-OpenSSH\r\n',
    '\r\n',
    'HTTP/2 200\r\n\r\n',
    'HTTP/1.1 99 OK\r\n\r\n',
    'HTTP/1.1 2000 OK\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n',
    `${ok}no colon\r\n\r\n`,
    `${ok}content-length : 5\r\n\r\n`,
    `${ok}x-a: b\r\n content-length: 5\r\n\r\n`,
    `${ok}: nameless\r\n\r\n`,
    `${ok}content-length: -1\r\n\r\n`,
    `${ok}content-length: 1e3\r\n\r\n`,
    `${ok}content-length: 5, 5\r\n\r\n`,
    `${ok}content-length: 5\r\ncontent-length: 6\r\n\r\n`,
    `${ok}content-length: 9999999999999999\r\n\r\n`,
    `${ok}transfer-encoding: gzip, chunked\r\n\r\n`,
    `${ok}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n`,
    `${ok}transfer-encoding: chunked\r\n\r\nxyz\r\n`,
    `${ok}transfer-encoding: chunked\r\n\r\n\r\n`,
    `${ok}transfer-encoding: chunked\r\n\r\n-1\r\n`,
    `${ok}transfer-encoding: chunked\r\n\r\n0x5\r\n`,
    `${ok}transfer-encoding: chunked\r\n\r\nfffffffffffff\r\n`,
    `${ok}transfer-encoding: chunked\r\n\r\n2\r\nabc\r\n`,
    `${ok}transfer-encoding: chunked\r\n\r\n1;${'x'.repeat(5_000)}`,
    `${ok}transfer-encoding: chunked\r\n\r\n0\r\n${'x: y\r\n'.repeat(12_000)}`,
    `${ok}${'x-y: z\r\n'.repeat(10_000)}`,
    `${ok}${'x-y: z\r\n'.repeat(10_000)}\r\n`,
  ])
    assert.throws(() => one(bytes), Error, JSON.stringify(bytes.slice(0, 80)))
})

test('an end of the connection within an answer is an error', () => {
  for (const bytes of [
    '',
    'HTTP/1.1 200 OK\r\ncontent-le',
    'HTTP/1.1 100 Continue\r\n\r\n',
    'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfour',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n',
  ])
    assert.throws(() => one(bytes, true), /ended within an answer/)
})

interface Written {
  bytes: Buffer
  status: number
  contentType: string
  body: string
  closes: boolean
  reusable: boolean
}

const bytesText = (maxLength: number) => fc.uint8Array({ maxLength }).map((b) => Buffer.from(b).toString('latin1'))
const lineText = fc.stringMatching(/^[!-~]{0,20}$/)
const fieldName = fc.stringMatching(/^x-[a-zA-Z0-9-]{0,20}$/)
const fields = fc.array(fc.tuple(fieldName, lineText), { maxLength: 5 })
const anyCase = fc.boolean()

const written: fc.Arbitrary<Written> = fc
  .record({
    interims: fc.array(fc.constantFrom(100, 102, 103), { maxLength: 2 }),
    status: fc.constantFrom(200, 201, 400, 404, 429, 500, 503),
    contentType: fc.constantFrom('application/json', 'text/event-stream; charset=utf-8'),
    fields,
    upper: anyCase,
    framing: fc.constantFrom('length', 'chunked', 'close'),
    saysClose: fc.boolean(),
    pieces: fc.array(bytesText(60), { maxLength: 5 }),
    extension: fc.constantFrom('', ';', ';a', ' ; a=b', ';a="b c"', '\t'),
    trailers: fields,
  })
  .map((made) => {
    const cased = (name: string) => (made.upper ? name.toUpperCase() : name)
    const lines = made.fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')
    const interims = made.interims.map((status) => `HTTP/1.1 ${status} Wait\r\n${lines}\r\n`).join('')
    const body = made.pieces.join('')
    const chunks = made.pieces
      .filter((piece) => piece !== '')
      .map((piece) => `${piece.length.toString(16)}${made.extension}\r\n${piece}\r\n`)
    const trailers = made.trailers.map(([name, value]) => `${name}: ${value}\r\n`).join('')
    const framed = {
      length: [`${cased('content-length')}:${body.length} \r\n`, body],
      chunked: [
        `${cased('transfer-encoding')}: chunked\r\n`,
        `${chunks.join('')}000${made.extension}\r\n${trailers}\r\n`,
      ],
      close: ['', body],
    }[made.framing]
    const close = made.saysClose ? `${cased('connection')}: close\r\n` : ''
    const head = `HTTP/1.1 ${made.status} Some Words\r\n${lines}${cased('content-type')}: ${made.contentType}\r\n${close}`
    return {
      bytes: Buffer.from(`${interims}${head}${framed[0]}\r\n${framed[1]}`, 'latin1'),
      status: made.status,
      contentType: made.contentType,
      body,
      closes: made.framing === 'close',
      reusable: !made.saysClose && made.framing !== 'close',
    }
  })

function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b)
  return [...at, bytes.length].map((end, i) => bytes.subarray(at[i - 1] ?? 0, end))
}

test('any valid answer means the same wherever the network cuts it', () => {
  fc.assert(
    fc.property(written, fc.array(fc.nat(), { maxLength: 20 }), (answer, cuts) => {
      const { status, contentType, body, closes, reusable, bytes } = answer
      const expected = whole(status, contentType, body, reusable)
      assert.deepEqual(read(cutAt(bytes, cuts), closes), expected)
    }),
    { numRuns: 500 },
  )
})

test('and when its bytes come one by one', () => {
  fc.assert(
    fc.property(written, ({ status, contentType, body, closes, reusable, bytes }) => {
      const single = Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))
      assert.deepEqual(read(single, closes), whole(status, contentType, body, reusable))
    }),
    { numRuns: 100 },
  )
})

test('answers follow each other on one connection', () => {
  const kept = written.filter(({ reusable }) => reusable)
  fc.assert(
    fc.property(
      fc.array(kept, { minLength: 1, maxLength: 4 }),
      fc.array(fc.nat(), { maxLength: 8 }),
      (answers, cuts) => {
        let seen = new Seen()
        const reader = new ResponseReader({
          began: (answer) => seen.began(answer),
          data: (...place) => seen.data(...place),
          ended: () => seen.ended(),
        })
        for (const { bytes, status, contentType, body } of answers) {
          for (const piece of cutAt(bytes, cuts)) arrive(reader, piece)
          assert.deepEqual([seen.answer, seen.body, seen.ends], [{ status, contentType }, body, 1])
          assert.ok(reader.over && reader.reusable)
          reader.reset()
          seen = new Seen()
        }
      },
    ),
    { numRuns: 100 },
  )
})

/** Valid answers with bytes changed, dropped and put in. */
const spoiled = fc
  .tuple(written, fc.array(fc.tuple(fc.nat(), fc.constantFrom('set', 'cut', 'put'), fc.nat(255)), { maxLength: 6 }))
  .map(([{ bytes }, damages]) =>
    damages.reduce((before, [place, how, byte]) => {
      const at = place % (before.length + 1)
      const rest = before.subarray(how === 'put' ? at : at + 1)
      return Buffer.concat([before.subarray(0, at), how === 'cut' ? Buffer.alloc(0) : Buffer.of(byte), rest])
    }, bytes),
  )

test('damage never breaks the order of events, and means the same wherever it is cut', () => {
  const outcome = (pieces: readonly Buffer[]) => {
    const seen = new Seen()
    const reader = new ResponseReader(seen)
    let error = false
    try {
      for (const piece of pieces) reader.push(piece)
      reader.closed()
    } catch (thrown) {
      assert.ok(!(thrown instanceof assert.AssertionError), String(thrown))
      error = true
    }
    assert.ok(seen.ends <= 1)
    assert.equal(reader.over, seen.ends === 1)
    // Bytes of a broken answer that came before the break are told or not told, as they were cut.
    return error ? 'error' : [seen.answer, seen.body]
  }
  fc.assert(
    fc.property(spoiled, fc.array(fc.nat(), { maxLength: 12 }), (bytes, cuts) => {
      assert.deepEqual(outcome(cutAt(bytes, cuts)), outcome([bytes]))
    }),
    { numRuns: 500 },
  )
})
