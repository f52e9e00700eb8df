import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Checked, GgufCheck } from './gguf-check.ts'

const file = readFileSync(join(import.meta.dirname, '../../models/starter/paddock-starter.gguf'))

function check(bytes: Buffer, cuts: readonly number[] = []): { checked: Checked; headAfter: number } {
  const gguf = new GgufCheck()
  let headAfter = -1
  let from = 0
  for (const to of [...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length]) {
    const { state } = gguf.push(bytes.subarray(from, to))
    if (headAfter === -1 && state !== 'reading') headAfter = to
    from = to
  }
  return { checked: gguf.end(), headAfter }
}

function why(bytes: Buffer): string {
  const { checked } = check(bytes)
  return checked.state === 'broken' ? checked.why : `it is not broken but ${checked.state}`
}

test('a whole file: what it is, and how large it must be', () => {
  const { checked } = check(file)
  assert.ok(checked.state === 'head')
  const { pairs, tensors, sizeBytes, headBytes } = checked.file
  assert.equal(sizeBytes, BigInt(file.length))
  assert.ok(tensors > 0 && headBytes < file.length)
  assert.equal(pairs.get('general.architecture'), 'llama')
  assert.equal(pairs.has('tokenizer.chat_template'), false)
})

test('in whatever pieces it comes, the result is the same', () => {
  const expected = check(file).checked
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: file.length - 1 }), { maxLength: 40 }), (cuts) => {
      assert.deepEqual(check(file, cuts).checked, expected)
    }),
  )
  const single = new GgufCheck()
  for (let at = 0; at < file.length; at++) single.push(file.subarray(at, at + 1))
  assert.deepEqual(single.end(), expected)
})

test('a bad header is known long before the end', () => {
  const bad = Buffer.from(file)
  bad.write('GGML', 0)
  const cuts = Array.from({ length: 100 }, (_, n) => (n + 1) * 64)
  assert.equal(check(bad, cuts).headAfter, 64)
  assert.match(why(bad), /does not begin with GGUF/)
})

test('a file that is cut off, and one that goes on', () => {
  for (const length of [1, 3, 4, 24, 1000, file.length - 1]) {
    const text = why(file.subarray(0, length))
    assert.match(text, /it ends inside its header|it is cut off: \d+ of \d+ bytes/, `${length}: ${text}`)
  }
  assert.match(why(Buffer.concat([file, Buffer.from([0])])), /goes on after its \d+ bytes/)
})

test('files built to deceive', () => {
  const u32 = (n: number) => Buffer.from(Uint32Array.of(n).buffer)
  const u64 = (n: number | bigint) => Buffer.from(BigUint64Array.of(BigInt(n)).buffer)
  const text = (value: string) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)])
  const head = (tensors: number | bigint, keys: number | bigint) =>
    Buffer.concat([Buffer.from('GGUF'), u32(3), u64(tensors), u64(keys)])
  const tensor = (name: string, dims: (number | bigint)[], type: number, offset: number) =>
    Buffer.concat([text(name), u32(dims.length), ...dims.map(u64), u32(type), u64(offset)])
  const file = (...parts: Buffer[]) => Buffer.concat(parts)
  const key = (name: string) => Buffer.concat([text(name), u32(4), u32(1)])
  for (const [bytes, expected] of [
    [file(Buffer.from('GGUF'), u32(1)), /version 1 /],
    [file(Buffer.from('GGUF'), u32(3 << 16)), /big-endian/],
    [head(2n ** 60n, 0), /tensors: \d+ is more than/],
    [head(0, 2n ** 60n), /keys: \d+ is more than/],
    [file(head(0, 2), key('a'), key('a')), /the key "a" twice/],
    [file(head(0, 1), text(''), u32(4), u32(1)), /key without a name/],
    [file(head(0, 1), text('a'), u32(99)), /value type 99/],
    [file(head(0, 1), text('a'), u32(9), u32(9), u64(1)), /list of lists/],
    [file(head(0, 1), text('a'), u32(9), u32(8), u64(2n ** 40n)), /length of a list/],
    [file(head(0, 1), u64(2n ** 40n)), /length of a key/],
    [file(head(0, 1), text('general.alignment'), u32(4), u32(33)), /power of two/],
    [file(head(1, 0), tensor('t', [4, 4, 4, 4, 4], 0, 0)), /5 dimensions/],
    [file(head(1, 0), tensor('t', [2n ** 62n, 4], 0, 0)), /larger than any file/],
    [file(head(1, 0), tensor('t', [2n ** 63n], 0, 0)), /negative dimension/],
    [file(head(1, 0), tensor('t', [8], 250, 0)), /unknown type 250/],
    [file(head(1, 0), tensor('t', [33], 2, 0)), /no multiple of 32/],
    [file(head(1, 0), tensor('t', [8], 0, 32)), /does not follow/],
    [file(head(2, 0), tensor('t', [8], 0, 0), tensor('t', [8], 0, 32)), /tensor "t" twice/],
    [file(head(2, 0), tensor('t', [8], 0, 0), tensor('u', [8], 0, 0)), /"u" does not follow/],
    [file(head(1, 0), tensor('x'.repeat(64), [8], 0, 0)), /name of a tensor: 64 is more than 63/],
  ] as const)
    assert.match(why(bytes), expected)
})

test('mutations: never a crash, never more memory than the head, never whole when it has another size', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 200_000 }), fc.integer({ min: 0, max: 255 })), {
        minLength: 1,
        maxLength: 8,
      }),
      fc.integer({ min: 0, max: file.length }),
      (changes, cut) => {
        const bytes = Buffer.from(file)
        for (const [at, value] of changes) bytes[at % bytes.length] = value
        const { checked } = check(bytes, [cut])
        assert.notEqual(checked.state, 'reading')
        if (checked.state === 'head') assert.equal(checked.file.sizeBytes, BigInt(bytes.length))
      },
    ),
    { numRuns: 300 },
  )
})
