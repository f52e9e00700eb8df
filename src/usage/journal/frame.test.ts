import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { frameMaximumBytes, type Line, readFrames, textMaximumBytes, writeFrame } from './frame.ts'

const line: fc.Arbitrary<Line> = fc
  .tuple(fc.constantFrom('head', 'open', 'close'), fc.string({ unit: 'grapheme', maxLength: 60 }))
  .map(([kind, text]) => ({ kind: kind as Line['kind'], text: text.replaceAll('\n', ' ') }))

function framed(lines: readonly Line[]): { bytes: Buffer; ends: number[] } {
  const bytes = Buffer.alloc(lines.length * 600)
  const ends: number[] = []
  for (const { kind, text } of lines) ends.push(writeFrame(bytes, ends.at(-1) ?? 0, kind, text))
  return { bytes: bytes.subarray(0, ends.at(-1) ?? 0), ends }
}

test('what was written is read, in pieces of any size', () => {
  fc.assert(
    fc.property(fc.array(line, { maxLength: 20 }), fc.integer({ min: 1, max: 700 }), (lines, piece) => {
      const { bytes } = framed(lines)
      const seen: Line[] = []
      let from = 0
      for (let to = piece; from < bytes.length; to += piece) {
        const read = readFrames(bytes.subarray(from, to), to >= bytes.length)
        seen.push(...read.lines)
        from += read.consumed
        assert.equal(read.damaged, 0)
      }
      assert.deepEqual(seen, lines)
    }),
  )
})

test('a tail that was cut off anywhere costs its own line and no other', () => {
  fc.assert(
    fc.property(fc.array(line, { minLength: 1, maxLength: 8 }), fc.nat(), (lines, at) => {
      const { bytes, ends } = framed(lines)
      const cut = at % bytes.length
      const whole = ends.filter((end) => end <= cut).length
      const torn = readFrames(bytes.subarray(0, cut), true)
      assert.deepEqual(torn.lines, lines.slice(0, whole))
      assert.equal(torn.consumed, cut)
      // While somebody writes, it may still be completed.
      assert.equal(readFrames(bytes.subarray(0, cut), false).consumed, ends[whole - 1] ?? 0)
    }),
  )
})

test('a spoiled stretch costs the lines in it and no other', () => {
  fc.assert(
    fc.property(
      fc.array(line, { minLength: 3, maxLength: 12 }),
      fc.nat(),
      fc.uint8Array({ minLength: 1, maxLength: 40 }),
      (lines, at, noise) => {
        const { bytes, ends } = framed(lines)
        const from = at % bytes.length
        const spoiled = Buffer.from(bytes)
        spoiled.set(noise.subarray(0, bytes.length - from), from)
        const to = from + noise.length
        const untouched = lines.filter((_, n) => (ends[n - 1] ?? 0) >= to || ends[n]! <= from)
        const seen = readFrames(spoiled, true).lines
        assert.deepEqual(
          untouched.filter((one) => !seen.some((other) => other.kind === one.kind && other.text === one.text)),
          [],
        )
        for (const one of seen) assert.ok(lines.some((other) => other.kind === one.kind && other.text === one.text))
      },
    ),
  )
})

test('zeros where a page was never written are passed over', () => {
  const { bytes } = framed([{ kind: 'open', text: 'a' }])
  const hole = Buffer.concat([bytes, Buffer.alloc(8192), bytes])
  assert.deepEqual(readFrames(hole, true), {
    lines: [
      { kind: 'open', text: 'a' },
      { kind: 'open', text: 'a' },
    ],
    consumed: hole.length,
    damaged: 8192,
  })
  // In a file that grows, a hole with more behind it than a frame can have is no frame that is still to come.
  const growing = Buffer.concat([Buffer.alloc(frameMaximumBytes), hole, Buffer.alloc(frameMaximumBytes)])
  assert.equal(readFrames(growing, false).lines.length, 2)
})

test('a line that is too long is refused before it is written', () => {
  assert.throws(
    () => writeFrame(Buffer.alloc(frameMaximumBytes * 2), 0, 'open', 'x'.repeat(textMaximumBytes)),
    /no room/,
  )
  assert.throws(() => writeFrame(Buffer.alloc(10), 0, 'open', 'xxxx'), /no room/)
})
