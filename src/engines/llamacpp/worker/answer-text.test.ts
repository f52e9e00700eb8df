import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import fc from 'fast-check'
import { AnswerText } from './answer-text.ts'

/** Pushes the bytes in the given portions; what came out, piece by piece. */
function say(bytes: Uint8Array, portions: number[], stops: string[]): { pieces: string[]; stopped: boolean } {
  const answer = new AnswerText(stops)
  const pieces: string[] = []
  for (let at = 0, i = 0; at < bytes.length && !answer.stopped; i += 1) {
    const size = portions[i % portions.length]!
    pieces.push(answer.push(bytes.subarray(at, at + size)))
    at += size
  }
  if (!answer.stopped) pieces.push(answer.end())
  return { pieces, stopped: answer.stopped }
}

const portions = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 8 })

test('any text comes through whole, however its bytes are cut', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), portions, (text, cuts) => {
      const { pieces } = say(new TextEncoder().encode(text), cuts, [])
      assert.equal(pieces.join(''), text)
      for (const piece of pieces) assert.ok(piece.isWellFormed())
    }),
  )
})

test('it ends before the first stop string, and no piece shows a part of it', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'é'), maxLength: 40 })
  const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'é'), minLength: 1, maxLength: 4 }), {
    maxLength: 3,
  })
  fc.assert(
    fc.property(letters, portions, stops, (text, cuts, ends) => {
      const found = ends.map((stop) => text.indexOf(stop)).filter((at) => at !== -1)
      const { pieces, stopped } = say(new TextEncoder().encode(text), cuts, ends)
      assert.equal(stopped, found.length > 0)
      // Cut late enough, another stop string can be complete first; never does one show.
      for (const stop of ends) assert.ok(!pieces.join('').includes(stop))
      assert.ok(text.startsWith(pieces.join('')))
      if (found.length === 0) assert.equal(pieces.join(''), text)
    }),
  )
})

test('half a character at the end is dropped, bytes that are no text are replaced', () => {
  assert.deepEqual(say(Uint8Array.of(0x61, 0xc3), [1], []).pieces.join(''), 'a')
  assert.deepEqual(say(Uint8Array.of(0xff, 0x61), [1], []).pieces.join(''), '\ufffda')
  assert.deepEqual(say(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61), [1], []).pieces.join(''), '\ufeffa')
})
