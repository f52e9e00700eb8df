import { strict as assert } from 'node:assert'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { makeStarter, starterPath } from '../../scripts/make-starter.ts'

test('the committed starter model is what its script makes', () => {
  assert.ok(makeStarter().equals(readFileSync(starterPath)), 'run `node scripts/make-starter.ts` and commit the file')
})
