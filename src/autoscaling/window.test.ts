import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sampleAt, startAt } from './drive.fixture.ts'
import {
  addSample,
  average,
  demandOf,
  emptyWindow,
  freshest,
  gapSecondsMaximum,
  keptSeconds,
  type LoadWindow,
  peak,
  type Sample,
  samplesMaximum,
} from './window.ts'

const at = (seconds: number) => startAt + seconds * 1000
const filled = (...samples: [seconds: number, load?: Partial<Sample>][]): LoadWindow =>
  samples.reduce((window, [seconds, load]) => addSample(window, sampleAt(at(seconds), load)), emptyWindow)

test('an absent sample is absent: averages are over what was seen, and nothing seen is no number', () => {
  const window = filled([0, { inFlight: 10 }], [50, { inFlight: 30 }])
  assert.equal(average(window, at(51), 60, demandOf), 20)
  assert.equal(average(window, at(51), 6, demandOf), 30)
  assert.equal(average(window, at(60), 6, demandOf), null)
  assert.equal(peak(window, at(60), 6, demandOf), null)
  assert.equal(peak(window, at(51), 60, demandOf), 30)
  assert.equal(average(emptyWindow, at(0), 60, demandOf), null)
})

test('held and rejected requests are demand', () => {
  assert.equal(demandOf(sampleAt(0, { inFlight: 1, held: 2, rejected: 4, arrivals: 100 })), 7)
})

test('quiet time begins at the last moment with demand', () => {
  const window = filled([0, { inFlight: 1 }], [2, { arrivals: 1 }], [4], [6])
  assert.equal(window.quietSince, at(2))
  assert.equal(addSample(window, sampleAt(at(8), { held: 1 })).quietSince, at(8))
})

test('time without reports is unknown, not quiet', () => {
  const window = filled([0], [10], [10 + gapSecondsMaximum + 1])
  assert.equal(window.quietSince, at(11 + gapSecondsMaximum))
  assert.equal(filled([0], [10], [10 + gapSecondsMaximum]).quietSince, at(0))
})

test('it is bounded in number and in time', () => {
  let window = emptyWindow
  for (let step = 0; step < 2 * samplesMaximum; step += 1) window = addSample(window, sampleAt(at(step / 10)))
  assert.equal(window.samples.length, samplesMaximum)
  for (let step = 1; step < 100; step += 1) window = addSample(window, sampleAt(at(100 + step * 2)))
  assert.ok(window.samples[0]!.at >= window.samples.at(-1)!.at - keptSeconds * 1000)
})

test('after the clock was set back, samples of the future are dropped', () => {
  const window = addSample(filled([0], [100, { inFlight: 50 }]), sampleAt(at(2)))
  assert.deepEqual(
    window.samples.map((sample) => sample.at),
    [at(0), at(2)],
  )
  assert.equal(window.quietSince! <= at(2), true)
  assert.equal(freshest(window, at(2), 10)?.at, at(2))
})

test('a stale report is no fresh one, and neither is one of the future', () => {
  const window = filled([0])
  assert.equal(freshest(window, at(9), 10)?.at, at(0))
  assert.equal(freshest(window, at(10), 10), null)
  assert.equal(freshest(window, at(-1), 10), null)
})
