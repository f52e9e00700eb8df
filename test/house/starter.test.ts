import { strict as assert } from 'node:assert'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeStarter, sha256, starterPath } from '../../scripts/make-starter.ts'

test('the committed starter model is what its script makes', () => {
  assert.ok(makeStarter().equals(readFileSync(starterPath)), 'run `node scripts/make-starter.ts` and commit the file')
})

test('its card tells its hash, and that its weights are random; it is small', () => {
  const card = readFileSync(join(starterPath, '..', 'README.md'), 'utf8')
  assert.ok(card.includes(sha256(readFileSync(starterPath))))
  assert.match(card, /weights are random/)
  assert.ok(statSync(starterPath).size < 1024 * 1024)
})
