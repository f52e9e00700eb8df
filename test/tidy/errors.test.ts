import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { errorsDocument } from '../../scripts/errors-doc.ts'
import { faultTable } from '../../src/kernel/fault-table.ts'

const path = resolve(import.meta.dirname, '..', '..', 'docs', 'errors.md')

test('docs/errors.md is what the table of faults says', () => {
  const wanted = errorsDocument(faultTable)
  if (process.env.UPDATE === '1') writeFileSync(path, wanted)
  assert.equal(readFileSync(path, 'utf8'), wanted, 'UPDATE=1 npm test -- test/tidy/errors writes it anew')
})

test('the page tells every code with its status, and whether it is charged', () => {
  const page = errorsDocument({
    broken: { status: 500, charged: false, action: 'Try again.', operator: 'The log.' },
    gone: { status: 499, charged: true, action: '', operator: '' },
  })
  assert.match(
    page,
    /## 499[^#]*\| `gone` \| — \| — \| yes \|[^#]*## 500[^#]*\| `broken` \| Try again\. \| The log\. \| no \|/,
  )
})
