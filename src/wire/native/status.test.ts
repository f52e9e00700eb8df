import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answering, phases } from '../../kernel/phase.ts'
import { nativeStatus, nativeStatuses } from './status.ts'

test('every phase has the word of the contract', () => {
  const table = Object.fromEntries(phases.map((phase) => [phase, nativeStatus[phase]]))
  assert.deepEqual(table, {
    queued: 'provisioning',
    starting: 'provisioning',
    serving: 'active',
    scaling: 'scaling',
    rolling: 'active',
    degraded: 'active',
    asleep: 'active',
    waking: 'active',
    stopping: 'teardown',
    stopped: 'inactive',
    failed: 'inactive',
    deleted: 'inactive',
  })
})

test('all five words of the seed are used', () => {
  assert.deepEqual(new Set(Object.values(nativeStatus)), new Set(nativeStatuses))
})

test('a client that polls for active is never left hanging: what answers is active or scaling', () => {
  for (const phase of phases)
    if (answering[phase] === 'yes') assert.match(nativeStatus[phase], /^(active|scaling)$/, phase)
})
