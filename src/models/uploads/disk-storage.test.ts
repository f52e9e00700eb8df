import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { DiskStorage } from './disk-storage.ts'

const folder = mkdtempSync(join(tmpdir(), 'paddock-disk-'))
after(() => rmSync(folder, { recursive: true, force: true }))

test('a disk with no room to spare takes nothing, and what was kept stays', async () => {
  const roomy = new DiskStorage(folder)
  const writer = await roomy.append('mdl_a')
  await writer.write(Buffer.alloc(3_000_000, 1))
  assert.equal(await writer.close(), 3_000_000)
  assert.ok((await roomy.room()) > 0)
  const full = new DiskStorage(folder, { freeBytesMinimum: 2 ** 50 })
  assert.equal(await full.room(), 0)
  const stopped = await full.append('mdl_a')
  await assert.rejects(stopped.write(Buffer.alloc(2_000_000, 2)), { code: 'unavailable', message: /no room/ })
  await stopped.close().catch(() => {})
  assert.equal(await roomy.kept('mdl_a'), 3_000_000)
})
