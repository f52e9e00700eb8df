/** docs/operate/metrics.md says what the route and /metrics say. `UPDATE=1` writes it anew. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { z } from 'zod'
import { type Field, metricsDocument, type Shown } from '../../scripts/metrics-doc.ts'
import { makeMetrics } from '../../src/api/metrics.ts'
import { journalGauges } from '../../src/usage/gauges.ts'
import { type Family, families } from '../../src/usage/metrics/families.ts'
import { deploymentMetrics } from '../../src/wire/native/metrics.ts'

const path = resolve(import.meta.dirname, '..', '..', 'docs', 'operate', 'metrics.md')

interface Schema {
  description?: string
  properties?: Record<string, Schema>
  anyOf?: Schema[]
  items?: Schema
  $ref?: string
  $defs?: Record<string, Schema>
}

/** What the route answers; named schemas stand apart, and are referred to. */
function answerSchema(): Schema {
  const whole = z.toJSONSchema(deploymentMetrics) as Schema
  return whole.$defs?.[whole.$ref?.slice('#/$defs/'.length) ?? ''] ?? whole
}

/** Every field with its meaning, those of objects as `object.field`, those of objects in lists as `list[].field`. */
function fieldsOf(schema: Schema, prefix = ''): Field[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, own]) => {
    const inner = own.properties ? own : own.anyOf?.find((one) => one.properties)
    const whole = prefix + name
    const itself = { name: whole, description: own.description ?? meanings[whole] ?? '' }
    if (inner) return fieldsOf(inner, `${whole}.`)
    return own.items?.properties ? [itself, ...fieldsOf(own.items, `${whole}[].`)] : [itself]
  })
}

/** Of fields whose names other routes explain. */
const meanings: Record<string, string> = {
  deployment_id: 'Of the deployment.',
  name: 'Its name.',
  phase: 'What it does, as in `GET /deployments/{id}`.',
  emulated: 'true: the hardware is not what it is called.',
  served_by: 'The model that answers in the place of its own; null: its own does.',
  to: 'Now.',
  window: 'As asked for.',
  'tokens.input': 'Prompt tokens of requests that ended.',
  'tokens.output': 'Tokens generated.',
  'tokens.input_per_second': 'Over the window.',
  'tokens.output_per_second': 'Over the window.',
  'replicas.desired': 'Wanted now; 0 while asleep or stopped.',
  'replicas.ready': 'Answering now.',
  'replicas.phases': 'Replicas that are not gone, by phase.',
  'adapters[].requests': 'Requests that ended.',
  'adapters[].input_tokens': 'Prompt tokens.',
  'adapters[].cached_tokens': 'Those of them that the engine had.',
  'adapters[].output_tokens': 'Tokens generated.',
}

/** What control counts itself, and what the journals say. */
const others: Record<string, Pick<Shown, 'unit' | 'labels'>> = {
  paddock_api_requests_total: { unit: 'requests', labels: ['operation', 'status'] },
  paddock_api_request_seconds: { unit: 'seconds', labels: ['operation'] },
  paddock_build_info: { unit: '', labels: ['version'] },
  paddock_journal_writable: { unit: '', labels: ['gateway'] },
  paddock_journal_bytes: { unit: 'bytes', labels: ['gateway'] },
  paddock_journal_waiting_requests: { unit: 'requests', labels: ['gateway'] },
  paddock_journal_unrecorded_requests: { unit: 'requests', labels: ['gateway'] },
  paddock_journal_rejected_requests: { unit: 'requests', labels: ['gateway'] },
}

/** Every metric of ours that /metrics tells, with what is known of it. */
async function shown(): Promise<Shown[]> {
  const gauges = journalGauges(async () => [])
  const text = await makeMetrics('', gauges, async () => ({})).text()
  const told = [...text.matchAll(/^# HELP ((?:gen_ai|paddock)_\w+) (.*)\n# TYPE \w+ (\w+)$/gm)]
  return told
    .map(([, name, help, type]) => {
      const known: Pick<Family, 'unit' | 'labels'> | undefined =
        families[name as keyof typeof families] ?? others[name!]
      assert.ok(known, `${name} is in no list`)
      return { name: name!, help: help!, type: type as Shown['type'], unit: known.unit, labels: known.labels }
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

test('docs/operate/metrics.md is what the route and the families say', async () => {
  const fields = fieldsOf(answerSchema())
  assert.ok(fields.length > 0, 'the route has no fields')
  assert.deepEqual(
    fields.filter(({ description }) => description === '').map(({ name }) => name),
    [],
    'a field without a meaning',
  )
  const names = await shown()
  assert.deepEqual(
    names.map(({ name }) => name),
    [...Object.keys(families), ...Object.keys(others)].sort(),
  )
  const wanted = metricsDocument(fields, names)
  if (process.env.UPDATE === '1') writeFileSync(path, wanted)
  assert.equal(readFileSync(path, 'utf8'), wanted, 'UPDATE=1 npm test -- test/tidy/metrics writes it anew')
})

test('no label is a key, a person or something a request says', () => {
  const allowed =
    /^(deployment|operation|status|code|phase|state|process|quantile|kind|error_type|gen_ai_(operation_name|provider_name|request_model|token_type))$/
  for (const [name, { labels }] of Object.entries(families))
    for (const label of labels) assert.match(label, allowed, name)
})
