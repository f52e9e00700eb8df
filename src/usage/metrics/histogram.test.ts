import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Histogram } from './histogram.ts'

const made = (values: readonly number[]): Histogram => {
  const histogram = new Histogram()
  for (const value of values) histogram.add(value)
  return histogram
}

/** Nearest rank. */
function exact(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(1, Math.ceil(values.length * share)) - 1]!
}

/** From microseconds to days, in units of 10 ms, evenly over the orders of magnitude. */
const value = fc.double({ min: -9.9, max: 25.9, noNaN: true }).map((exponent) => 2 ** exponent)
const values = fc.array(value, { minLength: 1, maxLength: 300 })
const share = fc.constantFrom(0.001, 0.5, 0.9, 0.99, 0.999, 1)

test('every quantile is within 0.8 % of the exact one', () => {
  fc.assert(
    fc.property(values, share, (list, at) => {
      const wanted = exact(list, at)
      const given = made(list).quantile(at)!
      assert.ok(Math.abs(given - wanted) <= wanted / 128, `${given} for ${wanted}`)
    }),
    { numRuns: 400 },
  )
})

test('histograms add up: merged is as if one had seen everything, and survives being written down', () => {
  fc.assert(
    fc.property(values, values, share, (some, others, at) => {
      const merged = Histogram.of(JSON.parse(JSON.stringify(made(some).line())))
      merged.merge(Histogram.of(made(others).line()))
      const whole = made([...some, ...others])
      assert.equal(merged.quantile(at), whole.quantile(at))
      assert.equal(merged.count, whole.count)
      assert.ok(Math.abs(merged.sum - whole.sum) <= 1e-6 * whole.sum + 1e-5)
    }),
  )
})

/** OpenTelemetry's recommended bounds in seconds; the two that this histogram has no exact bound for are left out. */
const recommended = [
  0.005, 0.01, 0.02, 0.025, 0.04, 0.05, 0.06, 0.075, 0.08, 0.1, 0.15, 0.16, 0.2, 0.25, 0.3, 0.32, 0.4, 0.5, 0.64, 0.75,
  1, 1.28, 2.5, 2.56, 5, 5.12, 10, 10.24, 20.48, 40.96, 81.92,
]

test('at the bounds that OpenTelemetry recommends counts are exact, a value on a bound included', () => {
  const bounds = recommended.map((seconds) => seconds * 100)
  fc.assert(
    fc.property(fc.array(fc.oneof(value, fc.constantFrom(...bounds)), { maxLength: 200 }), (list) => {
      const wanted = bounds.map((bound) => list.filter((one) => one <= bound).length)
      assert.deepEqual(made(list).atMost(bounds), wanted)
    }),
  )
})

test('nothing measured has no quantile; what is no length counts as none and spoils no sum', () => {
  assert.equal(made([]).quantile(0.5), null)
  const odd = made([0, -3, Number.NaN, Number.POSITIVE_INFINITY, 1e-9, 1e300])
  assert.equal(odd.count, 6)
  assert.equal(odd.quantile(0.5), 0)
  assert.equal(made([0, -3, Number.NaN, 5]).sum, 5)
  assert.ok(odd.quantile(1)! >= 2 ** 25.9)
  assert.deepEqual(made([]).atMost([1, 2]), [0, 0])
})

test('its room is bounded by the range, not by what was counted', () => {
  const many = new Histogram()
  for (let n = 0; n < 100_000; n += 1) many.add(1 + (n % 1000) / 1000)
  assert.ok(many.line().length < 2 * 66, `${many.line().length}`)
  assert.equal(many.count, 100_000)
})
