import assert from 'node:assert/strict'
import { closeSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, it } from 'node:test'
import type { Clock } from '../runtime/clock.ts'
import { boundLog, lastLogLines, logMaxBytes, openLog, sizeOf } from './server-log.ts'

const folder = mkdtempSync(join(tmpdir(), 'paddock-log-'))
after(() => rmSync(folder, { recursive: true }))

it('a log past its limit is moved aside at the start and while the server writes', async () => {
  const path = join(folder, 'postgres.log')
  closeSync(openLog(path))
  truncateSync(path, logMaxBytes + 1)
  const fd = openLog(path)
  assert.deepEqual([sizeOf(path), sizeOf(`${path}.1`)], [0, logMaxBytes + 1])
  writeSync(fd, 'long '.repeat(10))
  const over = new AbortController()
  let looks = 0
  const clock = { sleep: async () => void ((looks += 1) === 2 && over.abort()) } as unknown as Clock
  await boundLog(path, clock, over.signal, 20)
  assert.deepEqual([sizeOf(path), readFileSync(`${path}.1`, 'utf8')], [0, 'long '.repeat(10)])
  writeSync(fd, 'one\ntwo\nthree\n')
  closeSync(fd)
  assert.equal(lastLogLines(path, 2), 'two\nthree')
  assert.equal(lastLogLines(path, 9, 4), 'two\nthree')
})
