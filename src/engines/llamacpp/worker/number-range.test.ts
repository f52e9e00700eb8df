/** Numbers between bounds, as the real llama.cpp reads them. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import fc from 'fast-check'
import { loadNative } from './native.ts'
import { numberRange } from './number-range.ts'

const native = await loadNative(() => {})

function acceptor(schema: Record<string, unknown>, isWhole: boolean): (text: string) => boolean {
  const grammar = new native.AddonGrammar(`root ::= ${numberRange(schema, isWhole)}\n`, { addonExports: native }) as {
    isTextCompatible(text: string): boolean
  }
  return (text) => grammar.isTextCompatible(text)
}

const bounds = fc.record({ minimum: fc.integer({ min: -1_200, max: 1_200 }), size: fc.integer({ min: 0, max: 1_300 }) })

test('whole numbers: those between the bounds, and no others', () => {
  fc.assert(
    fc.property(bounds, ({ minimum, size }) => {
      const accepts = acceptor({ minimum, maximum: minimum + size }, true)
      const near = [-1, 0, 1].flatMap((d) => [
        minimum + d,
        minimum + size + d,
        d,
        -100 + d,
        100 + d,
        minimum + (size >> 1),
      ])
      for (const n of near) assert.equal(accepts(String(n)), n >= minimum && n <= minimum + size, `${n}`)
      for (const text of ['', '-', '00', '01', '-0', '1.0', '1e1']) assert.ok(!accepts(text), text)
    }),
    { numRuns: 40 },
  )
})

test('others: never outside the bounds; what lies between whole numbers of theirs', () => {
  fc.assert(
    fc.property(bounds, fc.integer({ min: 1, max: 999 }), ({ minimum, size }, thousandths) => {
      const accepts = acceptor({ minimum, maximum: minimum + size }, false)
      for (const n of [minimum, minimum + size, -1, 0, minimum + (size >> 1)])
        for (const x of [n + thousandths / 1_000, n - thousandths / 1_000])
          assert.equal(accepts(String(Number(x.toFixed(3)))), x >= minimum && x <= minimum + size, `${x} of ${minimum}`)
    }),
    { numRuns: 40 },
  )
})

test('one bound alone, and bounds that are not allowed themselves', () => {
  const positive = acceptor({ exclusiveMinimum: 0 }, false)
  assert.deepEqual(['0.5', '1', '12.25', '0', '-1', '-0.5'].map(positive), [true, true, true, false, false, false])
  const small = acceptor({ exclusiveMaximum: -2 }, true)
  assert.deepEqual(['-3', '-400', '-2', '0', '3'].map(small), [true, true, false, false, false])
  const share = acceptor({ minimum: 0, exclusiveMaximum: 1 }, false)
  assert.deepEqual(['0', '0.99', '1', '1.5', '-0.1'].map(share), [true, true, false, false, false])
  assert.equal(numberRange({}, true), null)
  for (const schema of [
    { minimum: 3, maximum: 2 },
    { minimum: 0.2, maximum: 0.8 },
    { minimum: '1' },
    { maximum: 1e20 },
  ])
    assert.throws(() => numberRange(schema, false), JSON.stringify(schema))
})
