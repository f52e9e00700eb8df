import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { columns, encodeRequest, receivedAtOf, requestIdOf } from './record.ts'
import { requestOf } from './testing.ts'

const named = (line: string) =>
  Object.fromEntries((JSON.parse(line) as unknown[]).map((value, at) => [columns[at]![0], value]))

test('every column has its value, in its place', () => {
  const request = requestOf({
    requestId: 'req_1',
    receivedAt: 1_000,
    clientRequestId: 'client-7',
    adapter: 'tone',
    stream: true,
    status: 499,
    code: 'client_closed',
    usage: { promptTokens: 7, completionTokens: 5, cachedTokens: 4, reasoningTokens: 2, estimated: true },
    timings: { auth: 0.2, queue: 3.4, ttft: 8.6, streaming: 0, longestPause: 0, total: 20.4 },
    bytes: { in: 10, out: 20 },
  })
  assert.deepEqual(named(encodeRequest(request)), {
    request_id: 'req_1',
    received_at: 1_000,
    settled_at: 1_020,
    org_id: 'org_a',
    key_id: 'key_a',
    deployment_id: 'dep_1',
    replica_id: 'rep_1',
    model: 'paddock/starter',
    adapter: 'tone',
    asked_model: 'mine',
    route: 'chat/completions',
    stream: true,
    status: 499,
    code: 'client_closed',
    charged: true,
    prompt_tokens: 7,
    cached_tokens: 4,
    completion_tokens: 5,
    reasoning_tokens: 2,
    estimated: true,
    queue_ms: 3,
    ttft_ms: 9,
    total_ms: 20,
    bytes_in: 10,
    bytes_out: 20,
    client_request_id: 'client-7',
  })
})

test('nothing known', () => {
  const none = { deploymentId: null, keyId: null, replicaId: null, model: null, modelId: null, usage: null }
  const line = encodeRequest(
    requestOf({
      ...none,
      orgId: null,
      timings: { auth: 0, queue: 0, ttft: null, streaming: 0, longestPause: 0, total: Number.NaN },
    }),
  )
  const { org_id, prompt_tokens, estimated, ttft_ms, total_ms } = named(line)
  assert.deepEqual([org_id, prompt_tokens, estimated, ttft_ms, total_ms], [null, 0, false, null, 0])
})

test('whatever a client calls a model, the line is JSON that Postgres can store', () => {
  fc.assert(
    fc.property(
      fc.string({
        unit: fc.constantFrom('a', '"', '\\', '\u0000', '\n', '\ud800', '\udc00', '😀', 'ß', '\u2028'),
        maxLength: 300,
      }),
      (model) => {
        const line = encodeRequest(requestOf({ model }))
        const { asked_model } = named(line) as { asked_model: string }
        assert.ok([...asked_model].length <= 200)
        assert.ok(asked_model.isWellFormed())
        assert.doesNotMatch(line, /\\u0000|\\ud[89a-f]|\n/)
      },
    ),
  )
})

test('id and arrival are read without the rest', () => {
  const request = requestOf()
  const line = encodeRequest(request)
  assert.deepEqual([requestIdOf(line), receivedAtOf(line)], [request.requestId, request.receivedAt])
})
