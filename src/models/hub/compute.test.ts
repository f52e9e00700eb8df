/** A provider whose replicas get their files first, through whatever happens meanwhile. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { type ComputeDriver, ComputeError, type Observation, type ReplicaOrder } from '../../compute/contract.ts'
import type { DeploymentId, ReplicaId } from '../../kernel/ids.ts'
import { type Clock, systemClock, until } from '../../runtime/clock.ts'
import { newId } from '../../runtime/ids.ts'
import { silentLog } from '../../runtime/log.ts'
import { HubCache, snapshotPath } from './cache.ts'
import { HubClient } from './client.ts'
import { FetchingCompute } from './compute.ts'
import { Fetches } from './fetch.ts'
import { hubSource } from './file-source.ts'
import { HubHttp } from './http.ts'
import { HubServer } from './testing/hub-server.ts'
import { sha256 } from './testing/repos.ts'

const hub = new HubServer()
const weights = Buffer.alloc(400_000, 7)
let http: HubHttp
let folder: string
let inner: Inner
const quick: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 20, signal) }

before(async () => {
  await hub.start()
  http = new HubHttp({ endpoint: hub.url })
  hub.repos.put('ann/model', { 'a.gguf': weights })
})
after(async () => {
  await http.close()
  await hub.close()
})
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'paddock-hub-'))
  inner = new Inner()
  hub.cdn.gate = null
})
afterEach(() => rmSync(folder, { recursive: true }))

/** Runs what it is told to, and notes whether the files were there. */
class Inner implements ComputeDriver {
  readonly name = 'inner'
  readonly running = new Map<string, boolean>()
  /** What the next creates throw. */
  readonly troubles: ComputeError[] = []
  offers = async () => []
  create = async (order: ReplicaOrder) => {
    const trouble = this.troubles.shift()
    if (trouble) throw trouble
    this.running.set(order.id, existsSync(order.model.path))
  }
  observe = async (id: ReplicaId): Promise<Observation> =>
    this.running.has(id) ? { state: 'running', address: '127.0.0.1', port: 1, startedAt: 1 } : { state: 'not_found' }
  list = async () => [...this.running.keys()] as ReplicaId[]
  delete = async (id: ReplicaId) => void this.running.delete(id)
  logs = async () => ['of the engine']
  renew = async () => {}
}

function compute(): FetchingCompute {
  const cache = new HubCache(folder)
  const fetches: Fetches = new Fetches({
    cache,
    source: hubSource(new HubClient(http), async () => null),
    clock: quick,
    log: silentLog,
    limits: { bytesMaximum: 0, freeBytesMinimum: 0 },
    filesAtOnce: 1,
    liveReplicas: async () => () => true,
    tell: async () => {},
  })
  return new FetchingCompute({ inner, fetches, cache, clock: quick, folder: join(folder, 'waiting') })
}

function order(repo = 'ann/model'): ReplicaOrder {
  const sha = hub.repos.byId.get('ann/model')!.refs.get('main')!
  const files = [{ path: 'a.gguf', sizeBytes: weights.length, digest: `sha256-${sha256(weights)}` }]
  const remote = { orgId: 'org_a', repo, sha, files }
  const path = join(snapshotPath(folder, remote), 'a.gguf')
  return {
    id: newId('rep') as ReplicaId,
    deploymentId: newId('dep') as DeploymentId,
    placement: { provider: 'inner', gpuType: 'cpu', gpuCount: 1, region: 'here', emulated: false },
    model: { modelId: 'm', format: 'gguf', path, sizeBytes: weights.length, contextSize: 1, remote },
    launch: () => assert.fail('nobody launches here'),
  }
}

/** Nothing beyond the first half comes until it is opened. */
function closeGate(): () => void {
  const { promise, resolve } = Promise.withResolvers<void>()
  hub.cdn.gate = async (at) => void (at >= 200_000 && (await promise))
  return resolve
}

const runs = (id: string) => until(systemClock, 'it runs', 20_000, () => inner.running.has(id))
const notes = () => readdirSync(join(folder, 'waiting'))

async function details(driver: ComputeDriver, id: ReplicaId): Promise<string> {
  const seen = await driver.observe(id)
  assert.ok(seen.state === 'pending' && seen.phase === 'files', JSON.stringify(seen))
  return seen.detail
}

test('accepted at once, pending while its files come, started when they are here', async () => {
  const driver = compute()
  const one = order()
  const open = closeGate()
  await driver.create(one)
  const first = await details(driver, one.id)
  await until(systemClock, 'it comes on', 20_000, async () => (await details(driver, one.id)) !== first)
  assert.match(await details(driver, one.id), /of 400 kB of ann\/model are here/)
  assert.deepEqual(await driver.list(), [one.id])
  assert.equal(inner.running.size, 0)
  await driver.create(one)
  open()
  await runs(one.id)
  assert.equal(inner.running.get(one.id), true, 'its files were there')
  await until(systemClock, 'nothing is noted', 20_000, () => notes().length === 0)
  assert.equal((await driver.observe(one.id)).state, 'running')
})

test('the process dies in the middle: the next one asks for the create, and goes on', async () => {
  const one = order()
  const open = closeGate()
  const dead = compute()
  await dead.create(one)
  await until(systemClock, 'half of it', 20_000, async () => /^[1-9]\d\d kB/.test(await details(dead, one.id)))
  // What a SIGKILL leaves: the note, and bytes. Its lock is the kernel's to give back.
  dead.close()
  const next = compute()
  const seen = await next.observe(one.id)
  assert.ok(seen.state === 'pending' && seen.again === true, JSON.stringify(seen))
  assert.deepEqual(await next.list(), [one.id])
  open()
  await next.create(one)
  await runs(one.id)
  assert.ok(hub.cdn.served.at(-1)!.from > 0)
})

test('deleted while its files come: nothing is started, nothing stays noted', async () => {
  const driver = compute()
  const one = order()
  const open = closeGate()
  await driver.create(one)
  await driver.delete(one.id)
  open()
  assert.deepEqual(await driver.observe(one.id), { state: 'not_found' })
  assert.deepEqual([notes(), await driver.list()], [[], []])
  const two = order()
  await driver.create(two)
  await runs(two.id)
  assert.equal(inner.running.has(one.id), false)
})

test('files that cannot be had: it has ended, and says why', async () => {
  const driver = compute()
  const one = order('ann/nowhere')
  await driver.create(one)
  const seen = await until(systemClock, 'it ended', 20_000, async () => {
    const now = await driver.observe(one.id)
    return now.state === 'exited' ? now : null
  })
  assert.match(seen.exit.why, /There is no repository ann\/nowhere/)
  await driver.delete(one.id)
  assert.deepEqual(await driver.observe(one.id), { state: 'not_found' })
})

test('a provider that cannot be asked is asked again; one that refuses has refused', async () => {
  const driver = compute()
  inner.troubles.push(new ComputeError('unavailable', 'Away.'), new ComputeError('not_ready', 'Busy.'))
  const one = order()
  await driver.create(one)
  await runs(one.id)
  inner.troubles.push(new ComputeError('capacity_short', 'It is full.'))
  const two = order()
  await driver.create(two)
  await until(systemClock, 'it ended', 20_000, async () => (await driver.observe(two.id)).state === 'exited')
})

test('one whose files are here already is the provider’s alone', async () => {
  const driver = compute()
  const { remote: _remote, ...model } = order().model
  const one = { ...order(), model }
  await driver.create(one)
  assert.deepEqual([...inner.running.keys()], [one.id])
  assert.deepEqual(await driver.logs(one.id, 5), ['of the engine'])
  assert.deepEqual(notes(), [])
})
