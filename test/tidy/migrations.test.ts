/** Two changes that land at the same time may take the same number; no server would start. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { readMigrations } from '../../src/store/migrate.ts'

test('migrations are numbered without gaps, each number once', () => {
  const migrations = readMigrations(resolve(import.meta.dirname, '..', '..', 'src', 'store', 'migrations'))
  assert.deepEqual(
    migrations.map(({ number }) => number),
    migrations.map((_, at) => at + 1),
  )
})

test('planted: a number twice, and one that is left out', () => {
  const folder = mkdtempSync(join(tmpdir(), 'paddock-migrations-'))
  try {
    for (const name of ['0001_first.sql', '0002_second.sql', '0002_other.sql'])
      writeFileSync(join(folder, name), 'select 1;')
    assert.throws(() => readMigrations(folder), /Migration 3 is missing or doubled/)
    rmSync(join(folder, '0002_other.sql'))
    writeFileSync(join(folder, '0004_fourth.sql'), 'select 1;')
    assert.throws(() => readMigrations(folder), /Migration 3 is missing or doubled/)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
