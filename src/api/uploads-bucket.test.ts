/** Uploaded models in a bucket: what reaches it, what is brought here, and that nothing stays. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { S3Storage } from '../models/uploads/s3-storage.ts'
import { starterFile, tinyGguf, uploadForm } from '../models/uploads/testing.ts'
import { bucketKey, TestBucket } from '../models/uploads/testing-bucket.ts'
import { systemClock, until } from '../runtime/clock.ts'
import { makeWorld, type World } from './testing.ts'

const bucket = new TestBucket()
const folder = mkdtempSync(join(tmpdir(), 'paddock-bucket-'))
let world: World
before(async () => {
  const place = { bucket: 'models', prefix: 'p/', region: 'test-1', endpoint: await bucket.listen(), pathStyle: true }
  const storage = new S3Storage({ ...place, ...bucketKey, folder })
  world = await makeWorld({}, { uploads: { storage, tryLoad: async (path) => (existsSync(path) ? null : 'not here') } })
})
after(async () => {
  await world.close()
  bucket.close()
  rmSync(folder, { recursive: true, force: true })
})

test('stored in the bucket, tried here, brought again when a replica needs it, and gone when it is deleted', async () => {
  const file = starterFile()
  const sent = await world.call('POST', '/models/upload', { body: uploadForm('far', file) })
  assert.equal(sent.status, 201, sent.text)
  await world.uploads.loop.settle()
  const { json } = await world.call('GET', '/models/byom/far')
  assert.deepEqual([json.status, json.sha256], ['ready', createHash('sha256').update(file).digest('hex')])
  assert.deepEqual([...bucket.objects.keys()], [`p/${json.id}.gguf`])
  assert.equal(bucket.pending.size, 0)
  const { copies } = world.uploads.context
  rmSync(copies.pathOf(json.id))
  const bring = () => world.options.models.bring(world.db, world.orgA, 'byom:far')
  const files = await until(systemClock, 'it is here', 20_000, () => bring().catch(() => null))
  assert.equal(files.sizeBytes, file.length)
  assert.ok(existsSync(files.path))
  assert.equal((await world.call('DELETE', '/models/byom/far')).status, 200)
  await world.uploads.loop.settle()
  assert.deepEqual([bucket.objects.size, world.uploads.stored()], [0, []])
})

test('a bad file leaves nothing in the bucket', async () => {
  const file = tinyGguf({}, 4096).subarray(0, -64)
  assert.equal((await world.call('POST', '/models/upload', { body: uploadForm('bad', file) })).status, 422)
  await world.uploads.loop.settle()
  assert.deepEqual([bucket.objects.size, bucket.pending.size], [0, 0])
})
