/** The table of `test/README.md`: a test that it names is there. */
import { strict as assert } from 'node:assert'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { test } from 'node:test'

const folder = resolve(import.meta.dirname, '..')
const readme = readFileSync(join(folder, 'README.md'), 'utf8')

/** Tests named in a table's row, and what is wrong with them. A title alone belongs to the file named before it. */
function missingIn(row: string): string[] {
  let file: string | null = null
  let named = 0
  const missing: string[] = []
  for (const { 1: path, 2: title } of row.matchAll(/`([^`]+\.test\.ts)`|"([^"]+)"/g)) {
    if (path !== undefined) file = path
    if (title === undefined) continue
    named += 1
    const there =
      file !== null && existsSync(join(folder, file)) && readFileSync(join(folder, file), 'utf8').includes(title)
    if (!there) missing.push(`${file}: "${title}"`)
  }
  return named === 0 ? [`no test is named: ${row}`] : missing
}

const rows = readme.slice(readme.indexOf('| what happened')).trim().split('\n').slice(2)

test('every failure that users of others met has its test', () => {
  assert.ok(rows.length >= 13)
  assert.deepEqual(rows.flatMap(missingIn), [])
})

test('planted: a test that is not there, a file that is not, a row without one', () => {
  const [first] = rows
  assert.equal(missingIn(first!.replace('one start"', 'two starts"')).length, 1)
  assert.equal(missingIn(first!.replace('zero.test', 'nought.test')).length, 1)
  assert.equal(missingIn('| it breaks | trust us |').length, 1)
})
