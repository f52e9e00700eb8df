/** The house rules, over this tree. What they are: CONTRIBUTING.md; that they bite: planted.test.ts. */
import assert from 'node:assert/strict'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { told, violations } from './rules.ts'
import { readTree } from './tree.ts'

const tree = readTree(resolve(import.meta.dirname, '..', '..'))

test('the tree keeps the house rules', () => {
  assert.ok(tree.size > 50, `only ${tree.size} files were found`)
  assert.deepEqual(violations(tree).map(told), [])
})
