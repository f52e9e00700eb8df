import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { S3Storage } from './s3-storage.ts'
import { bucketKey, TestBucket } from './testing-bucket.ts'

const bucket = new TestBucket()
const folder = mkdtempSync(join(tmpdir(), 'paddock-s3-'))
let endpoint = ''
before(async () => {
  endpoint = await bucket.listen()
})
after(() => {
  bucket.close()
  rmSync(folder, { recursive: true, force: true })
  assert.deepEqual(bucket.refused, [])
})

const open = (over: object = {}) =>
  new S3Storage({
    ...{ bucket: 'models', prefix: 'paddock/one/', region: 'test-1', endpoint, pathStyle: true, folder },
    ...bucketKey,
    ...over,
  })

async function write(id: string, bytes: Buffer): Promise<number> {
  const writer = await open().append(id)
  for (let at = 0; at < bytes.length; at += 100_000) await writer.write(bytes.subarray(at, at + 100_000))
  return writer.close()
}

async function readAll(id: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of open().read(id)) hash.update(piece)
  return hash.digest('hex')
}

test('in pieces of any size, by a new process each time: parts in the bucket, the rest here, then one object', async () => {
  const file = randomBytes(40 * 1024 * 1024 + 123)
  let at = 0
  for (const to of [1000, 17_000_000, 17_000_001, 39_000_000, file.length]) {
    assert.equal(await write('mdl_a', file.subarray(at, to)), to)
    assert.equal(await open().kept('mdl_a'), to)
    at = to
  }
  assert.deepEqual(await open().list(), ['mdl_a'])
  await open().finish('mdl_a')
  await open().finish('mdl_a')
  assert.deepEqual([...bucket.objects.keys()], ['paddock/one/mdl_a.gguf'])
  assert.equal(bucket.pending.size, 0)
  assert.equal(await readAll('mdl_a'), createHash('sha256').update(file).digest('hex'))
  assert.equal(await open().kept('mdl_a'), file.length)
  await open().remove('mdl_a')
  assert.equal(bucket.objects.size, 0)
  assert.deepEqual(await open().list(), [])
})

test('a writer that dies loses what did not fill a part, and nothing else', async () => {
  const file = randomBytes(20 * 1024 * 1024)
  const writer = await open().append('mdl_b')
  await writer.write(file)
  // No close: killed.
  const kept = await open().kept('mdl_b')
  assert.equal(kept, 16 * 1024 * 1024)
  assert.equal(await write('mdl_b', file.subarray(kept)), file.length)
  await open().finish('mdl_b')
  assert.equal(await readAll('mdl_b'), createHash('sha256').update(file).digest('hex'))
  await open().remove('mdl_b')
})

test('what is given up leaves nothing, also twice; another prefix is not ours', async () => {
  await write('mdl_c', randomBytes(1000))
  assert.equal(bucket.pending.size, 1)
  assert.deepEqual(await open({ prefix: 'paddock/two/', folder: join(folder, 'two') }).list(), [])
  await open().remove('mdl_c')
  await open().remove('mdl_c')
  assert.equal(bucket.pending.size, 0)
  assert.deepEqual(await open().list(), [])
})

test('a wrong secret is refused', async () => {
  await assert.rejects(open({ secretAccessKey: 'another' }).list())
  assert.equal(bucket.refused.splice(0).length > 0, true)
})
