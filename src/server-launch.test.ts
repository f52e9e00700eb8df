import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { inProcess, inThread, type Launch } from './server-launch.ts'

const module = join(import.meta.dirname, 'server-launch.fixture.ts')
const cacheFolder = mkdtempSync(join(tmpdir(), 'paddock-launch-'))
after(() => rmSync(cacheFolder, { recursive: true, force: true }))
const megabyte = 1024 * 1024

/** Megabytes of young memory that it grew to while it made much that is short-lived. */
function young(launch: Launch<unknown>): Promise<number> {
  return new Promise((resolve, reject) => {
    let said = Number.NaN
    launch({
      message: (message) => {
        if (message.kind === 'fatal') said = Number(message.message) / megabyte
      },
      failed: reject,
      ended: () => resolve(said),
    })
  })
}

test('a part has as much young memory as it is given, as a process and as a thread', async () => {
  for (const youngMegabytes of [1, 2]) {
    // Two semi-spaces.
    const most = 2 * youngMegabytes + 0.5
    const process = await young(inProcess({ module, cacheFolder, youngMegabytes }))
    assert.ok(process > 0.5 && process <= most, `${process} MB`)
    const thread = await young(inThread({ module, heapMegabytes: 64, youngMegabytes }))
    assert.ok(thread > 0.5 && thread <= most, `${thread} MB`)
  }
  assert.ok((await young(inProcess({ module, cacheFolder }))) > 5)
})
