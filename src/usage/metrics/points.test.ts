import assert from 'node:assert/strict'
import { test } from 'node:test'
import { totalPoints } from './points.ts'
import { Sample } from './sample.ts'

test('the name of a model that a tenant chose is no longer than a label may be, and whole characters', () => {
  const totals = ['long', 'pictures', 'short', 'unknown'].map((deploymentId) => {
    const sample = new Sample()
    sample.input.add(1)
    return { deploymentId, operation: 'chat', sample }
  })
  const models = new Map([
    ['long', 'x'.repeat(4_000)],
    ['pictures', `x${'😀'.repeat(2_000)}`],
    ['short', 'hf:a/b'],
  ])
  const points = totalPoints(totals, models).gen_ai_client_token_usage ?? []
  const shown = new Map(points.map(({ labels }) => [labels.deployment, labels.gen_ai_request_model ?? '']))
  assert.deepEqual([shown.get('long')?.length, shown.get('short'), shown.get('unknown')], [128, 'hf:a/b', ''])
  assert.ok(shown.get('pictures')!.length <= 128 && shown.get('pictures')!.isWellFormed())
})
