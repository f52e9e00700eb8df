import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ApiError } from '../wire/native/client.ts'
import type { DeploymentMetrics } from '../wire/native/metrics.ts'
import { metricsColumns, metricsPage } from './metrics-text.ts'
import type { Session } from './session.ts'
import { tableLines } from './table.ts'
import { top } from './top.ts'

const plain = (_colour: string, text: string) => text
const quantiles = { count: 9, p50: 4.2, p90: 80, p99: 1_234 }
const metricsOf = (over: Partial<DeploymentMetrics> = {}): DeploymentMetrics => ({
  deployment_id: 'dep_1',
  name: 'mine',
  phase: 'serving',
  emulated: false,
  simulated: false,
  served_by: null,
  window: '60s',
  from: '2026-11-21T09:30:00.000Z',
  to: '2026-11-21T09:31:00.000Z',
  requests: 12,
  status: { 200: 9, 499: 2, 500: 1 },
  errors: { engine_failed: 1 },
  rps: 0.2,
  in_flight: 3,
  held: 1,
  queued: 4,
  ttft_ms: quantiles,
  inter_token_ms: quantiles,
  longest_pause_ms: quantiles,
  end_to_end_ms: quantiles,
  held_ms: null,
  tokens: {
    input: 1,
    output: 1,
    reasoning: 0,
    cached: 1,
    input_per_second: 1_234.4,
    output_per_second: 12.34,
    estimated_requests: 0,
  },
  cache_hit_share: 0.426,
  adapters: [],
  replicas: { desired: 2, ready: 1, phases: { ready: 1, draining: 1 } },
  gateways: { heard: 1, silent: 0 },
  ...over,
})
const nothing = metricsOf({
  name: 'quiet\u001B[2J',
  requests: null,
  status: {},
  errors: {},
  rps: null,
  in_flight: null,
  held: null,
  queued: null,
  ttft_ms: null,
  inter_token_ms: null,
  end_to_end_ms: null,
  tokens: null,
  cache_hit_share: null,
})

test('a row tells what was measured, and a dash where nothing was', () => {
  const [head, busy, quiet] = tableLines(metricsColumns(plain), [metricsOf(), nothing], null)
  assert.deepEqual(head!.split(/ {2,}/).slice(0, 6), ['NAME', 'PHASE', 'READY', 'REQ/S', 'IN FLIGHT', 'WAIT'])
  const cells = [
    'mine',
    'serving',
    '1/2',
    '0.2',
    '3',
    '5',
    '4.2 ms',
    '1.2 s',
    '4.2 ms',
    '1234',
    '12.3',
    '43 %',
    '2',
    '1',
  ]
  assert.deepEqual(busy!.split(/ {2,}/), cells)
  assert.deepEqual(
    quiet!.split(/ {2,}/).slice(3),
    Array.from({ length: 11 }, () => '-'),
  )
  assert.ok(!quiet!.includes('\u001B'))
})

test('the page of one deployment', () => {
  const page = metricsPage(metricsOf({ gateways: { heard: 1, silent: 2 } }), plain).join('\n')
  for (const line of [
    /^replicas +1 of 2 ready \(1 ready, 1 draining\)$/m,
    /^now +3 in flight, 1 held, 4 in line$/m,
    /^by status +200: 9 {2}499: 2 {2}500: 1$/m,
    /^errors +engine_failed: 1$/m,
    /^first token +p50 4\.2 ms {2}p90 80 ms {2}p99 1\.2 s {2}\(9\)$/m,
    /^held +-$/m,
    /^missing +2 gateways not heard of$/m,
  ])
    assert.match(page, line)
  const quiet = metricsPage(nothing, plain).join('\n')
  assert.match(quiet, /^requests +no gateway is heard of$/m)
  assert.ok(!quiet.includes('\u001B'))
})

test('on a terminal it looks again and again, over a server that is away for a moment, until Ctrl-C', async () => {
  const stop = new AbortController()
  let shown = ''
  let looks = 0
  const session = {
    screen: { live: true, columns: 200, paint: plain, write: (text: string) => (shown += text) },
    interruption: { signal: stop.signal, check: () => stop.signal.throwIfAborted() },
    clock: {
      now: () => 0,
      sleep: async () => {
        if ((looks += 1) === 3) stop.abort(new Error('Ctrl-C'))
      },
    },
    client: {
      listDeployments: async () => {
        if (looks === 1) throw new ApiError(0, { code: 'unreachable', message: 'It does not answer.', action: '' })
        return { data: [{ id: 'dep_1' }, { id: 'dep_gone' }], next_cursor: null }
      },
      getMetrics: async (id: string) => {
        if (id === 'dep_1') return metricsOf()
        throw new ApiError(404, { code: 'not_found', message: 'Gone.', action: '' })
      },
    },
  } as unknown as Session
  await assert.rejects(top(session, undefined, { window: '60s' }), /Ctrl-C/)
  const looksShown = shown.split('\u001B[H\u001B[2J').slice(1)
  assert.equal(looksShown.length, 3)
  assert.ok(
    looksShown.every((text) => /^\S+ {2}last 60s {2}Ctrl-C ends\n\nNAME.*\nmine +serving/.test(text)),
    shown,
  )
  assert.deepEqual(
    looksShown.map((text) => text.includes('It does not answer.')),
    [false, true, false],
  )
})

test('an error that does not pass ends it', async () => {
  const failing = async () => {
    throw new ApiError(401, { code: 'invalid_key', message: 'No.', action: '' })
  }
  const session = { screen: { live: true }, client: { listDeployments: failing } } as unknown as Session
  await assert.rejects(top(session, undefined, { window: '60s' }), { code: 'invalid_key' })
})
