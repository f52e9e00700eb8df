/** Uploaded models in a bucket: what reaches it, what is brought here for replicas, and that nothing stays. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import type { ComputeDriver, Observation, ReplicaOrder } from '../compute/contract.ts'
import type { DeploymentId, ReplicaId } from '../kernel/ids.ts'
import { S3Storage } from '../models/uploads/s3-storage.ts'
import { starterFile, tinyGguf, uploadForm } from '../models/uploads/testing.ts'
import { bucketKey, TestBucket } from '../models/uploads/testing-bucket.ts'
import { type Clock, systemClock, until } from '../runtime/clock.ts'
import { newId } from '../runtime/ids.ts'
import { makeWorld, type World, wish } from './testing.ts'

const longMs = 20_000
const bucket = new TestBucket()
const folder = mkdtempSync(join(tmpdir(), 'paddock-bucket-'))
/** Pauses between tries are short. */
let later = 0
const clock: Clock = {
  ...systemClock,
  now: () => systemClock.now() + later,
  sleep: (ms, signal) => systemClock.sleep(ms / 50, signal),
}
const file = starterFile()
let world: World
let deployment: string
before(async () => {
  const place = { bucket: 'models', prefix: 'p/', region: 'test-1', endpoint: await bucket.listen(), pathStyle: true }
  const storage = new S3Storage({ ...place, ...bucketKey, folder })
  const tryLoad = async (path: string) => (existsSync(path) ? null : 'not here')
  world = await makeWorld({}, { clock, uploads: { storage, tryLoad, copiesBytes: file.length * 1.5 } })
  assert.equal((await world.call('POST', '/models/upload', { body: uploadForm('far', file) })).status, 201)
  await world.uploads.loop.settle()
  deployment = (await world.call('POST', '/deployments', { body: { ...wish('needs-it'), model_id: 'byom:far' } })).json
    .id
})
after(async () => {
  await world.close()
  bucket.close()
  rmSync(folder, { recursive: true, force: true })
  assert.deepEqual(bucket.refused, [])
})
beforeEach(async () => {
  bucket.onRead = async () => undefined
  bucket.reads.length = 0
  // As when there was no room for it.
  const { status, json } = await world.call('GET', '/models/byom/far')
  if (status === 200) await world.uploads.context.copies.remove(json.id)
})

/** Runs what it is told to, with what the file was then. */
class Inner implements ComputeDriver {
  readonly name = 'inner'
  readonly running = new Map<string, string | null>()
  offers = async () => []
  create = async ({ id, model }: ReplicaOrder) =>
    void this.running.set(id, existsSync(model.path) ? sumOf(readFileSync(model.path)) : null)
  observe = async (id: ReplicaId): Promise<Observation> =>
    this.running.has(id) ? { state: 'running', address: '127.0.0.1', port: 1, startedAt: 1 } : { state: 'not_found' }
  list = async () => [...this.running.keys()] as ReplicaId[]
  delete = async (id: ReplicaId) => void this.running.delete(id)
  logs = async () => []
  renew = async () => {}
}

const sumOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const bring = () => world.options.models.bring(world.db, world.orgA, 'byom:far')

async function order(): Promise<ReplicaOrder> {
  return {
    id: newId('rep') as ReplicaId,
    deploymentId: deployment as DeploymentId,
    placement: { provider: 'inner', gpuType: 'cpu', gpuCount: 1, region: 'here', emulated: false },
    model: await bring(),
    launch: () => assert.fail('nobody launches here'),
  }
}

const events = async (): Promise<string[]> =>
  (await world.call('GET', `/deployments/${deployment}/events?limit=200`)).json.data
    .map(({ type }: { type: string }) => type)
    .filter((type: string) => type.startsWith('model.'))

test('its copy was cleared away: replicas wait for it, it is brought once for all, then they start', async () => {
  const inner = new Inner()
  const driver = world.uploads.context.copies.fetching(inner)
  const { promise: gate, resolve: open } = Promise.withResolvers<undefined>()
  bucket.onRead = () => gate
  const orders = await Promise.all([order(), order(), order()])
  for (const one of orders) await driver.create(one)
  const [first] = orders
  const waiting = await driver.observe(first!.id)
  assert.ok(waiting.state === 'pending' && waiting.phase === 'files', JSON.stringify(waiting))
  assert.match(waiting.detail, /^0 B of .* of byom:far are here/)
  assert.equal(inner.running.size, 0)
  open(undefined)
  await until(systemClock, 'all run', longMs, () => inner.running.size === orders.length)
  assert.deepEqual(new Set(inner.running.values()), new Set([sumOf(file)]))
  assert.deepEqual(bucket.reads, [0], 'it was read once')
  await until(systemClock, 'it is told of', longMs, async () => (await events()).includes('model.downloaded'))
  assert.ok((await events()).includes('model.download_started'))
  const late = await order()
  await driver.create(late)
  await until(systemClock, 'a later one runs', longMs, () => inner.running.has(late.id))
  assert.deepEqual(bucket.reads, [0], 'and not again for a later one')
})

test('the bucket goes away in the middle: it goes on from there; what is another file is never served', async () => {
  const inner = new Inner()
  const driver = world.uploads.context.copies.fetching(inner)
  bucket.onRead = async (from) => (from === 0 ? 100_000 : undefined)
  const one = await order()
  await driver.create(one)
  await until(systemClock, 'it runs', longMs, () => inner.running.has(one.id))
  assert.equal(inner.running.get(one.id), sumOf(file))
  assert.equal(bucket.reads[0], 0)
  assert.ok(bucket.reads.at(-1)! > 0, `${bucket.reads}`)
  const { json } = await world.call('GET', '/models/byom/far')
  await world.uploads.context.copies.remove(json.id)
  const key = `p/${json.id}.gguf`
  const other = Buffer.from(file)
  other[other.length - 1]! ^= 1
  bucket.objects.set(key, other)
  const refused = await order()
  await driver.create(refused)
  const seen = await until(systemClock, 'it is refused', longMs, async () => {
    const now = await driver.observe(refused.id)
    return now.state === 'exited' ? now : null
  })
  assert.match(seen.exit.why, /byom:far is not what was uploaded/)
  bucket.objects.delete(key)
  await driver.delete(refused.id)
  const lost = await order()
  await driver.create(lost)
  const gone = await until(systemClock, 'it is missed', longMs, async () => {
    const now = await driver.observe(lost.id)
    return now.state === 'exited' ? now : null
  })
  assert.match(gone.exit.why, /not in the bucket any more/)
  bucket.objects.set(key, file)
  await driver.delete(lost.id)
})

test('room for one: what a living replica was made from stays, and goes for another after it; deleted, all goes', async () => {
  const { context, loop } = world.uploads
  const { copies } = context
  const inner = new Inner()
  const driver = copies.fetching(inner)
  const one = await order()
  await driver.create(one)
  await until(systemClock, 'it runs', longMs, () => inner.running.has(one.id))
  assert.equal((await world.call('DELETE', '/models/byom/far')).status, 409)
  let stumbles = 0
  context.log = { ...context.log, error: () => (stumbles += 1) }
  const near = Buffer.from(file)
  near[near.length - 1]! ^= 1
  assert.equal((await world.call('POST', '/models/upload', { body: uploadForm('near', near) })).status, 201)
  const status = async () => (await world.call('GET', '/models/byom/near')).json.status
  const tried = (what: string, is: () => unknown) =>
    until(systemClock, what, longMs, async () => {
      await loop.tick()
      return is()
    })
  await tried('it has no room', () => stumbles > 0)
  assert.equal(await status(), 'validating')
  assert.ok(existsSync(one.model.path))
  await driver.delete(one.id)
  // What was just finished may not be linked yet, and is left alone for a while.
  later = 120_000
  await tried('it has room', async () => (await status()) === 'ready')
  assert.ok(!existsSync(one.model.path))
  assert.equal((await world.call('DELETE', '/models/byom/near')).status, 200)
  assert.equal((await world.call('DELETE', `/deployments/${deployment}`)).status, 200)
  assert.equal((await world.call('DELETE', '/models/byom/far')).status, 200)
  await world.uploads.loop.settle()
  assert.deepEqual([bucket.objects.size, bucket.pending.size, world.uploads.stored()], [0, 0, []])
})

test('a bad file leaves nothing in the bucket', async () => {
  const bad = tinyGguf({}, 4096).subarray(0, -64)
  assert.equal((await world.call('POST', '/models/upload', { body: uploadForm('bad', bad) })).status, 422)
  await world.uploads.loop.settle()
  assert.deepEqual([bucket.objects.size, bucket.pending.size], [0, 0])
})
