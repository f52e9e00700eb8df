import assert from 'node:assert/strict'
import { test } from 'node:test'
import { requestOf } from '../journal/testing.ts'
import { MetricCounts } from './counts.ts'
import { Sample } from './sample.ts'

const timings = { auth: 0, queue: 0, ttft: 20, streaming: 90, longestPause: 40, total: 120 }
const usage = { promptTokens: 10, completionTokens: 4 }
const stream = { route: 'chat/completions', stream: true, status: 200, code: null, timings, usage } as const

const sampled = (counts: MetricCounts) =>
  counts.cut().map(({ deploymentId, operation, sample }) => ({ deploymentId, operation, sample: Sample.of(sample) }))

test('counts go by deployment and operation, and begin anew when they were taken', () => {
  const counts = new MetricCounts()
  counts.add(requestOf({ ...stream, deploymentId: 'dep_1' }))
  counts.add(requestOf({ ...stream, deploymentId: 'dep_1', route: 'messages' }))
  counts.add(requestOf({ ...stream, deploymentId: 'dep_1', route: 'embeddings' }))
  counts.add(requestOf({ ...stream, deploymentId: null, status: 404, code: 'model_not_found', usage: null }))
  const taken = sampled(counts).map(({ deploymentId, operation, sample }) => [
    deploymentId,
    operation,
    Object.fromEntries([...sample.ends].map(([end, { count }]) => [end, count])),
  ])
  assert.deepEqual(taken, [
    ['dep_1', 'chat', { 200: 2 }],
    ['dep_1', 'embeddings', { 200: 1 }],
    ['', 'chat', { '404 model_not_found': 1 }],
  ])
  assert.deepEqual(counts.cut(), [])
})

test('times are those of streams that were answered: 200 and 499; what was held is apart', () => {
  const one = (over: object) => {
    const sample = new Sample()
    sample.add(requestOf({ ...stream, ...over }))
    const { ttft, token, pause, held } = Sample.of(sample.line())
    return [ttft, token, pause, held].map((histogram) => (histogram.count === 0 ? null : histogram.sum * 10))
  }
  assert.deepEqual(one({}), [20, 30, 40, null])
  assert.deepEqual(one({ status: 499, code: 'client_closed' }), [20, 30, 40, null])
  assert.deepEqual(one({ status: 500, code: 'engine_failed' }), [null, null, null, null])
  assert.deepEqual(one({ stream: false, timings: { ...timings, streaming: 0, longestPause: 0 } }), [
    null,
    null,
    null,
    null,
  ])
  assert.deepEqual(one({ timings: { ...timings, queue: 15 } }), [5, 30, 40, 15])
  assert.deepEqual(one({ usage: { ...usage, completionTokens: 1 } }), [20, null, 40, null], 'no token after the first')
  assert.deepEqual(one({ usage: null }), [20, null, 40, null])
  assert.deepEqual(one({ timings: { ...timings, ttft: null, streaming: 0 } }), [null, null, null, null])
})

test('tokens count wherever they were read; the cache only where the engine spoke of it', () => {
  const sample = new Sample()
  sample.add(requestOf({ ...stream, usage: { promptTokens: 100, completionTokens: 7, cachedTokens: 60 } }))
  sample.add(requestOf({ ...stream, usage: { promptTokens: 50, completionTokens: 3, estimated: true } }))
  sample.add(requestOf({ ...stream, status: 500, code: 'engine_failed', usage: { ...usage, reasoningTokens: 2 } }))
  const read = Sample.of(JSON.parse(JSON.stringify(sample.line())))
  assert.deepEqual([read.input.sum, read.output.sum, read.input.count], [160, 14, 3])
  assert.deepEqual([read.cached, read.cacheable, read.reasoning, read.estimated], [60, 100, 2, 1])
  const both = new Sample()
  both.merge(read)
  both.merge(read)
  assert.deepEqual([both.requests, both.cached, both.output.sum], [6, 120, 28])
})
