import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { errorsDocument } from '../../scripts/errors-doc.ts'
import { chargeTable } from '../../src/kernel/charge.ts'
import { faultTable } from '../../src/kernel/fault-table.ts'
import { phases, reasonTable } from '../../src/kernel/phase.ts'

const path = resolve(import.meta.dirname, '..', '..', 'docs', 'errors.md')

test('docs/errors.md is what the table of faults says', () => {
  const wanted = errorsDocument(faultTable, chargeTable, reasonTable)
  if (process.env.UPDATE === '1') writeFileSync(path, wanted)
  assert.equal(readFileSync(path, 'utf8'), wanted, 'UPDATE=1 npm test -- test/tidy/errors writes it anew')
})

test('the page tells every code with its status, and whether it is charged', () => {
  const page = errorsDocument(
    {
      broken: { status: 500, action: 'Try again.', operator: 'The log.' },
      gone: { status: 499, action: '', operator: '' },
    },
    { 499: { when: 'the client left', charged: true } },
    { tired: { phases: ['asleep', 'stopped'], message: 'It is tired.', action: 'Wait.', retryAfterSeconds: 7 } },
  )
  assert.match(
    page,
    /## 499[^#]*\| `gone` \| — \| — \| yes \|[^#]*## 500[^#]*\| `broken` \| Try again\. \| The log\. \| no \|/,
  )
  assert.match(page, /## What is charged[\s\S]*\| 499 \| the client left \| yes \|/)
  assert.match(page, /## Reasons[\s\S]*\| `tired` \| asleep, stopped \| It is tired\. \| Wait\. \| 7 s \|/)
})

test('every phase but serving has a reason of its own', () => {
  const explained = new Set(Object.values(reasonTable).flatMap((meaning) => [...meaning.phases]))
  assert.deepEqual(
    phases.filter((phase) => phase !== 'serving' && !explained.has(phase)),
    [],
  )
})
