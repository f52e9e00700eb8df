/** docs/events.md says what the catalogue says (`UPDATE=1` writes it anew), and events have one way into the database. */
import assert from 'node:assert/strict'
import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { z } from 'zod'
import { eventsDocument } from '../../scripts/events-doc.ts'
import { eventCatalogue } from '../../src/events/catalogue.ts'

const root = resolve(import.meta.dirname, '..', '..')
const path = resolve(root, 'docs', 'events.md')

test('docs/events.md is what the catalogue of events says', () => {
  const wanted = eventsDocument(eventCatalogue)
  if (process.env.UPDATE === '1') writeFileSync(path, wanted)
  assert.equal(readFileSync(path, 'utf8'), wanted, 'UPDATE=1 npm test -- test/tidy/events writes it anew')
})

test('the page tells every field with its type, and whether it may be absent', () => {
  const data = z.strictObject({
    n: z.int(),
    names: z.array(z.string()),
    why: z.string().optional(),
    code: z.int().nullable(),
    phases: z.record(z.string(), z.number()),
  })
  assert.match(
    eventsDocument({ 'thing.happened': { tells: 'It happened.', data } }),
    /\| `thing.happened` \| It happened\. \| `n` integer, `names` list of strings, `why`\? string, `code` integer or null, `phases` map of numbers \|/,
  )
})

test('only events/store.ts writes events, with types of the catalogue', () => {
  const files = globSync('src/**/*.ts', { cwd: root }).filter((file) => !/\.(test|fixture)\.ts$/.test(file))
  const writers = files.filter((file) => /into\s+events\b/i.test(readFileSync(resolve(root, file), 'utf8')))
  assert.deepEqual(writers, ['src/events/store.ts'])
})
