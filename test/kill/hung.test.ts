/** A part of the server that lives but does nothing any more. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { Part } from '../../src/server-child.ts'
import { inProcess, inThread } from '../../src/server-launch.ts'

const cacheFolder = mkdtempSync(join(tmpdir(), 'paddock-part-'))
after(() => rmSync(cacheFolder, { recursive: true, force: true }))

const module = join(import.meta.dirname, 'hung-part.ts')
const launches = { process: inProcess({ module, cacheFolder }), thread: inThread({ module, heapMegabytes: 64 }) }

function part(hang: () => boolean, lookEveryMs: number, launch: keyof typeof launches = 'process') {
  return new Part({
    name: 'hung',
    launch: launches[launch],
    setup: async () => ({ hang: hang() }),
    clock: systemClock,
    log: silentLog,
    lookEveryMs,
  })
}

test('it is killed and started again', async () => {
  let starts = 0
  const hung = part(() => (starts += 1) === 1, 250)
  await hung.start()
  const { pid } = hung
  await until(systemClock, 'it is there again', 30_000, () => starts === 2 && hung.pid !== null && hung.pid !== pid)
  await hung.stop(5_000)
})

test('so is one that is a thread', async () => {
  let starts = 0
  const hung = part(() => (starts += 1) === 1, 100, 'thread')
  await hung.start()
  await until(systemClock, 'it is there again', 30_000, () => starts === 2)
  await hung.stop(5_000)
})

test('one whose supervisor was frozen for long is let live', async () => {
  const steady = part(() => false, 50)
  await steady.start()
  const { pid } = steady
  // All looks that were due meanwhile are one look.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3_000)
  await systemClock.sleep(200)
  assert.equal(steady.pid, pid)
  await steady.stop(5_000)
})
