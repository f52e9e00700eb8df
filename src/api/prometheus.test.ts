/** /metrics as Prometheus reads it: by the format's own rules, and with the figures that were measured. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { report } from '../access/gateways.ts'
import { AllMetrics } from '../deployments/all-metrics.ts'
import { systemClock } from '../runtime/clock.ts'
import { newId } from '../runtime/ids.ts'
import { silentLog } from '../runtime/log.ts'
import { journalGauges } from '../usage/gauges.ts'
import { requestOf } from '../usage/journal/testing.ts'
import { type Family, families } from '../usage/metrics/families.ts'
import { MetricsReporter } from '../usage/metrics/reporter.ts'
import { lastSeqs, samplesAfter, saveBatch } from '../usage/metrics/store.ts'
import { Totals } from '../usage/metrics/totals.ts'
import type { SettledRequest } from '../usage/request.ts'
import { makeApi } from './app.ts'
import { makeWorld, type World, wish } from './testing.ts'

let world: World
let reporter: MetricsReporter
let text: () => Promise<string>
before(async () => {
  world = await makeWorld()
  text = await newControl()
  reporter = new MetricsReporter({
    source: newId('gw'),
    save: (batch) => saveBatch(world.db, batch),
    clock: systemClock,
    log: silentLog,
  })
})
after(() => world.close())

/** A control that begins now; gives what its /metrics says. */
async function newControl(): Promise<() => Promise<string>> {
  const { db } = world
  const totals = new Totals({ lastSeqs: () => lastSeqs(db), samplesAfter: (seen) => samplesAfter(db, seen) })
  await totals.catchUp()
  const health = () => ({ rssBytes: 5e7, loopDelayMs: { p50: 1, p99: 20, max: 30 } })
  const all = new AllMetrics({ db, clock: systemClock, totals, health })
  const gauges = journalGauges(async () => [{ id: 'gw_1', journal: { problem: null, bytes: 7 } }])
  const app = makeApi({ ...world.options, measured: () => all.read(), gauges })
  return async () => {
    const answer = await app.request('/metrics', { headers: { authorization: `Bearer ${world.keys.operator}` } })
    assert.equal(answer.status, 200)
    return answer.text()
  }
}

interface Sample {
  name: string
  labels: Record<string, string>
  value: number
}

/** Reads the text format 0.0.4 and is strict where readers are. */
function parse(said: string): { types: Map<string, string>; samples: Sample[] } {
  const types = new Map<string, string>()
  const helped = new Set<string>()
  const ended = new Set<string>()
  const seen = new Set<string>()
  const samples: Sample[] = []
  let family = ''
  assert.ok(said.endsWith('\n'))
  for (const line of said.split('\n')) {
    if (line === '') continue
    const meta = /^# (HELP|TYPE) ([a-zA-Z_:][\w:]*) (.+)$/.exec(line)
    if (meta !== null) {
      const [, kind, name, rest] = meta as unknown as [string, string, string, string]
      if (name !== family) {
        assert.ok(!ended.has(name), `${name} comes twice`)
        ended.add(family)
        family = name
      }
      const known = kind === 'HELP' ? helped : types
      assert.ok(!known.has(name), `${kind} of ${name} comes twice`)
      if (kind === 'HELP') helped.add(name)
      else types.set(name, rest)
      continue
    }
    const parts = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line)
    assert.ok(parts, line)
    const [, name, inner = '', value] = parts as unknown as [string, string, string | undefined, string]
    assert.ok(name.replace(/_(bucket|sum|count)$/, '') === family || name === family, `${name} is not of ${family}`)
    assert.ok(!seen.has(`${name}{${inner}}`), `${line} comes twice`)
    seen.add(`${name}{${inner}}`)
    assert.match(value, /^(-?\d+(\.\d+)?(e[+-]?\d+)?|\+Inf|NaN)$/i)
    samples.push({ name, labels: labelsOf(inner), value: Number(value.replace('+Inf', 'Infinity')) })
  }
  assert.deepEqual([...types.keys()].sort(), [...helped].sort(), 'every family has HELP and TYPE')
  return { types, samples }
}

function labelsOf(inner: string): Record<string, string> {
  const labels: Record<string, string> = {}
  let at = 0
  while (at < inner.length) {
    const found = /^([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/.exec(inner.slice(at))
    assert.ok(found, `labels: ${inner.slice(at)}`)
    assert.ok(!(found[1]! in labels), `label ${found[1]} twice`)
    labels[found[1]!] = found[2]!.replace(/\\(.)/g, (_, one: string) => (one === 'n' ? '\n' : one))
    at += found[0].length
  }
  return labels
}

const figure = ({ samples }: ReturnType<typeof parse>, name: string, labels: Record<string, string>) =>
  samples.find(
    (one) => one.name === name && Object.entries(labels).every(([label, value]) => one.labels[label] === value),
  )?.value

async function serve(deploymentId: string | null, times: number, over: Partial<SettledRequest> = {}): Promise<void> {
  for (let n = 0; n < times; n += 1) reporter.settled(requestOf({ deploymentId, ...over }))
  await reporter.pass()
}

async function create(name: string): Promise<string> {
  return (await world.call('POST', '/deployments', { body: wish(name) })).json.id
}

const streamed = {
  stream: true,
  timings: { auth: 0, queue: 0, ttft: 200, streaming: 900, longestPause: 400, total: 1_150 },
  usage: { promptTokens: 100, completionTokens: 31, cachedTokens: 40 },
} as const

test('what was measured, in a text that is right by the rules of the format', async () => {
  const id = await create('counted')
  const strange = 'hf:a"b\\c\nd é/x'
  await world.db.run(`update deployments set spec = jsonb_set(spec, '{modelId}', to_jsonb($2::text)) where id = $1`, [
    id,
    strange,
  ])
  await serve(id, 3, streamed)
  await serve(id, 1, { status: 499, code: 'client_closed' })
  await serve(id, 2, { status: 500, code: 'engine_failed', usage: null })
  await serve(null, 4, { status: 404, code: 'model_not_found', usage: null })
  const read = parse(await text())
  for (const name of Object.keys(families)) {
    const { type, labels }: Family = families[name as keyof typeof families]
    assert.equal(read.types.get(name), type, name)
    for (const one of read.samples.filter((sample) => sample.name.replace(/_(bucket|sum|count)$/, '') === name))
      assert.deepEqual(
        Object.keys(one.labels)
          .filter((label) => label !== 'le')
          .sort(),
        [...labels].sort(),
        name,
      )
  }
  const genAi = { deployment: id, gen_ai_operation_name: 'chat', gen_ai_request_model: strange }
  const of = (name: string, labels: Record<string, string> = genAi) => figure(read, name, labels)
  assert.equal(of('gen_ai_server_time_to_first_token_seconds_count'), 3)
  assert.ok(Math.abs(of('gen_ai_server_time_to_first_token_seconds_sum')! - 0.6) < 1e-9)
  assert.equal(of('gen_ai_server_time_to_first_token_seconds_bucket', { ...genAi, le: '0.1' }), 0)
  assert.equal(of('gen_ai_server_time_to_first_token_seconds_bucket', { ...genAi, le: '0.25' }), 3)
  assert.equal(of('gen_ai_server_time_per_output_token_seconds_bucket', { ...genAi, le: '0.025' }), 0)
  assert.equal(of('gen_ai_server_time_per_output_token_seconds_bucket', { ...genAi, le: '0.05' }), 3)
  assert.equal(of('gen_ai_server_request_duration_seconds_count', { ...genAi, error_type: '' }), 3)
  assert.equal(of('gen_ai_server_request_duration_seconds_count', { ...genAi, error_type: 'engine_failed' }), 2)
  assert.equal(of('gen_ai_client_token_usage_sum', { ...genAi, gen_ai_token_type: 'output' }), 3 * 31 + 3)
  const requests = { deployment: id, operation: 'chat' }
  assert.equal(of('paddock_requests_total', { ...requests, status: '200', code: '' }), 3)
  assert.equal(of('paddock_requests_total', { ...requests, status: '499', code: 'client_closed' }), 1)
  assert.equal(of('paddock_requests_total', { deployment: '', code: 'model_not_found' }), 4)
  assert.equal(of('paddock_tokens_total', { deployment: id, kind: 'cached' }), 120)
  assert.equal(of('paddock_tokens_total', { deployment: id, kind: 'cacheable' }), 300)
  assert.equal(of('paddock_journal_bytes', { gateway: 'gw_1' }), 7)
  assert.equal(of('paddock_event_loop_delay_seconds', { process: 'control', quantile: '0.99' }), 0.02)
})

test('histograms grow with their bounds and end at their count', async () => {
  const { samples } = parse(await text())
  const last = new Map<string, { le: number; value: number }>()
  for (const { name, labels, value } of samples.filter((one) => one.name.endsWith('_bucket'))) {
    const { le, ...rest } = labels
    const key = name + JSON.stringify(rest)
    const before = last.get(key) ?? { le: -1, value: 0 }
    assert.ok(Number(le!.replace('+Inf', 'Infinity')) > before.le && value >= before.value, key)
    last.set(key, { le: Number(le!.replace('+Inf', 'Infinity')), value })
  }
  assert.ok(last.size > 0)
  for (const [key, { le }] of last) assert.equal(le, Number.POSITIVE_INFINITY, key)
  for (const { name, labels, value } of samples.filter((one) => one.name.endsWith('_count'))) {
    const end = last.get(`${name.slice(0, -6)}_bucket${JSON.stringify(labels)}`)
    if (end !== undefined) assert.equal(end.value, value, name)
  }
})

test('what is so now: in flight, held, replicas, gateways and their processes', async () => {
  const id = await create('now')
  const replica = newId('rep')
  await world.db.run(
    `insert into replicas (id, deployment_id, revision_id, org_id, provider, phase, gpu_type, gpu_count, region,
       price_micro_usd_per_unit_hour, created_at)
     select $2, $1, v.id, $3, 'local', 'ready', 'cpu', 1, 'local', 0, v.created_at
     from revisions v where v.deployment_id = $1`,
    [id, replica, world.orgA],
  )
  const process = { rssBytes: 123, loopDelayMs: { p50: 0.5, p99: 2, max: 40 } }
  const state = {
    keyringVersion: 1e9,
    routesVersion: 1e9,
    inFlight: { [replica]: 2 },
    demand: { [id]: { held: 3 } },
    queued: { [id]: 5 },
  }
  await report(world.db, { id: 'gw_1', ...state, process }, systemClock.now())
  await report(world.db, { id: 'gw_2', ...state }, systemClock.now())
  await report(world.db, { id: 'gw_3', ...state, process }, systemClock.now() - 60_000)
  const read = parse(await text())
  assert.equal(figure(read, 'paddock_in_flight_requests', { deployment: id }), 4)
  assert.equal(figure(read, 'paddock_held_requests', { deployment: id }), 6)
  assert.equal(figure(read, 'paddock_queued_requests', { deployment: id }), 10)
  assert.equal(figure(read, 'paddock_replicas', { deployment: id, phase: 'ready' }), 1)
  assert.equal(figure(read, 'paddock_gateways', { state: 'heard' }), 2)
  assert.equal(figure(read, 'paddock_gateways', { state: 'silent' }), 1)
  assert.equal(figure(read, 'paddock_event_loop_delay_seconds', { process: 'gw_1', quantile: '1' }), 0.04)
  assert.equal(figure(read, 'paddock_resident_memory_bytes', { process: 'gw_1' }), 123)
  assert.equal(figure(read, 'paddock_resident_memory_bytes', { process: 'gw_2' }), undefined, 'nothing was told')
  assert.equal(figure(read, 'paddock_resident_memory_bytes', { process: 'gw_3' }), undefined, 'it is silent')
})

test('counters never fall while control lives, and begin at nothing with the next; a deleted deployment goes', async () => {
  const id = await create('lasting')
  const count = async (said: () => Promise<string>) =>
    figure(parse(await said()), 'paddock_requests_total', { deployment: id })
  await serve(id, 2)
  assert.equal(await count(text), 2)
  const next = await newControl()
  await serve(id, 3)
  assert.deepEqual([await count(text), await count(next)], [5, 3])
  assert.deepEqual([await count(text), await count(next)], [5, 3], 'asking counts nothing')
  await world.db.run(`update deployments set deleted_at = created_at where id = $1`, [id])
  assert.equal(await count(text), undefined)
})

test('without the database nothing is claimed', async () => {
  const app = makeApi({ ...world.options, measured: () => Promise.reject(new Error('away')) })
  const answer = await app.request('/metrics', { headers: { authorization: `Bearer ${world.keys.operator}` } })
  const { types, samples } = parse(await answer.text())
  assert.equal(types.get('paddock_requests_total'), 'counter')
  assert.deepEqual(
    samples.filter(({ name }) => name.startsWith('gen_ai_') || name.startsWith('paddock_requests')),
    [],
  )
})
