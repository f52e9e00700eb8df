/** Files on their way here: cut off, wrong, late, in the way of each other, with too little room. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import type { RemoteFiles } from '../../engines/contract.ts'
import { Fault } from '../../kernel/fault.ts'
import { type Clock, systemClock, until } from '../../runtime/clock.ts'
import { silentLog } from '../../runtime/log.ts'
import { HubCache, snapshotKey, snapshotPath } from './cache.ts'
import { HubClient } from './client.ts'
import { Fetches, type FetchNews, type FetchOptions } from './fetch.ts'
import { hubSource } from './file-source.ts'
import { HubHttp } from './http.ts'
import { HubServer } from './testing/hub-server.ts'
import { gitSha1, sha256 } from './testing/repos.ts'

const hub = new HubServer()
let http: HubHttp
let folder: string
let cache: HubCache
let news: FetchNews[]

before(async () => {
  await hub.start()
  http = new HubHttp({ endpoint: hub.url, silenceMs: 2_000 })
})
after(async () => {
  await http.close()
  await hub.close()
})
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'paddock-hub-'))
  cache = new HubCache(folder)
  news = []
})
afterEach(() => {
  rmSync(folder, { recursive: true })
  Object.assign(hub.cdn, {
    ignoresRange: false,
    corrupt: 0,
    expired: 0,
    gate: null,
    cut: { answers: 0, afterBytes: 0 },
  })
})

/** Pauses are a twentieth of what they are. */
const quick: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 20, signal) }

function fetches(changes: Partial<FetchOptions> = {}): Fetches {
  return new Fetches({
    cache,
    source: hubSource(new HubClient(http), async () => null),
    clock: quick,
    log: silentLog,
    limits: { bytesMaximum: 0, freeBytesMinimum: 0 },
    filesAtOnce: 2,
    liveReplicas: async () => () => true,
    tell: async (one) => void news.push(one),
    ...changes,
  })
}

let repos = 0

/** A repository with a large file of so many bytes and a small one. */
function repository(bytes: number | Buffer): { content: RemoteFiles; large: Buffer } {
  const large = typeof bytes === 'number' ? randomBytes(bytes) : bytes
  const repo = `ann/model-${repos++}`
  const small = Buffer.from(`{"n":${repos}}`)
  const sha = hub.repos.put(repo, { 'model.safetensors': large, 'sub/config.json': small })
  const files = [
    { path: 'model.safetensors', sizeBytes: large.length, digest: `sha256-${sha256(large)}` },
    { path: 'sub/config.json', sizeBytes: small.length, digest: `git-${gitSha1(small)}` },
  ]
  return { content: { orgId: 'org_a', repo, sha, files }, large }
}

async function bring(content: RemoteFiles, changes: Partial<FetchOptions> = {}): Promise<void> {
  await fetches(changes).want(content, 'rep_1', 'dep_1').done
}

function arrived({ content, large }: { content: RemoteFiles; large: Buffer }): void {
  const path = snapshotPath(folder, content)
  assert.ok(readFileSync(join(path, 'model.safetensors')).equals(large), 'byte by byte')
  assert.ok(existsSync(join(path, 'sub/config.json')))
  assert.deepEqual(readdirSync(join(folder, 'partial')), [])
}

const servedOf = (large: Buffer) => hub.cdn.served.filter(({ hash }) => hash === sha256(large))

test('a model is brought, and told of from its beginning to its end', async () => {
  const model = repository(500_000)
  await bring(model.content)
  arrived(model)
  const ends = () => news.filter(({ what }) => what !== 'progress')
  assert.deepEqual(
    ends().map(({ what, bytes }) => [what, bytes > 0]),
    [
      ['started', false],
      ['done', true],
    ],
  )
  await bring(model.content)
  assert.equal(servedOf(model.large).length, 1)
  assert.equal(ends().length, 2, 'what is here is no news')
})

test('connections that break: it goes on from where it was', async () => {
  const model = repository(700_000)
  hub.cdn.cut = { answers: 3, afterBytes: 150_000 }
  await bring(model.content)
  arrived(model)
  const from = servedOf(model.large).map((one) => one.from)
  assert.equal(from.length, 4)
  assert.ok(
    from.every((at, n) => n === 0 || (at > from[n - 1]! && at > 0)),
    String(from),
  )
})

test('a server that knows no parts: from the beginning, and right', async () => {
  const model = repository(300_000)
  hub.cdn.cut = { answers: 1, afterBytes: 150_000 }
  hub.cdn.ignoresRange = true
  await bring(model.content)
  arrived(model)
})

test('a wrong byte is noticed and fetched anew; twice wrong is said', async () => {
  const model = repository(200_000)
  hub.cdn.corrupt = 1
  await bring(model.content)
  arrived(model)
  const bad = repository(200_000)
  hub.cdn.corrupt = 2
  await assert.rejects(bring(bad.content), (fault: Fault) => {
    assert.ok(fault instanceof Fault && fault.code === 'hub_files_missing')
    assert.match(fault.message, /model\.safetensors is not what the Hub says/)
    return true
  })
  assert.equal(news.at(-1)!.what, 'failed')
  assert.equal(existsSync(cache.blob(bad.content.files[0]!.digest)), false)
})

test('links that are over, limits of requests, and a Hub that stumbles pass', async () => {
  const model = repository(200_000)
  hub.cdn.expired = 2
  hub.limited = { requests: 1, retryAfter: '0' }
  hub.broken = 1
  await bring(model.content)
  arrived(model)
})

test('what was left by somebody who died: its bytes are used, also when they are all here, or wrong', async () => {
  for (const left of [
    (large: Buffer) => large.subarray(0, 120_000),
    (large: Buffer) => large,
    (large: Buffer) => Buffer.concat([large, Buffer.from('more')]),
    (large: Buffer) => Buffer.alloc(large.length),
  ]) {
    const model = repository(200_000)
    await cache.prepare()
    writeFileSync(cache.partial(model.content.files[0]!.digest), left(model.large))
    await bring(model.content)
    arrived(model)
  }
})

test('those who want the same share one job; one that nobody wants any more stops', async () => {
  const model = repository(400_000)
  const { promise, resolve } = Promise.withResolvers<void>()
  hub.cdn.gate = async (at) => void (at >= 200_000 && (await promise))
  const all = fetches()
  const [first, second] = [all.want(model.content, 'rep_1', 'dep_1'), all.want(model.content, 'rep_2', 'dep_2')]
  await until(systemClock, 'half of it', 20_000, () => /^[1-9]\d\d kB of 400 kB/.test(second.detail()))
  const told = () => news.filter(({ what, bytes }) => what === 'progress' && bytes < 400_000)
  await until(systemClock, 'both are told', 20_000, () => new Set(told().map((one) => one.deploymentId)).size === 2)
  all.leave('rep_1')
  resolve()
  await Promise.all([first.done, second.done])
  assert.equal(servedOf(model.large).length, 1)

  const other = repository(400_000)
  const never = Promise.withResolvers<void>()
  hub.cdn.gate = async (at) => void (at >= 200_000 && (await never.promise))
  const alone = all.want(other.content, 'rep_3', 'dep_3')
  await until(systemClock, 'half of it', 20_000, () => /^[1-9]\d\d kB of 400 kB/.test(alone.detail()))
  all.leave('rep_3')
  await assert.rejects(alone.done)
  never.resolve()
  await bring(other.content)
  arrived(other)
  assert.ok(servedOf(other.large).at(-1)!.from > 0, 'what was brought stayed')
})

test('two models with a file in common: it is fetched once and kept once', async () => {
  const one = repository(300_000)
  const two = repository(one.large)
  const all = fetches()
  await Promise.all([all.want(one.content, 'rep_1', 'dep_1').done, all.want(two.content, 'rep_2', 'dep_2').done])
  arrived(one)
  arrived(two)
  assert.equal(servedOf(one.large).length, 1)
  assert.equal(statSync(cache.blob(one.content.files[0]!.digest)).nlink, 3)
})

test('a full cache: what was used longest ago goes, what a replica uses stays, else it is said', async () => {
  const live = new Set(['rep_live'])
  const limits = { bytesMaximum: 700_000, freeBytesMinimum: 0 }
  const liveReplicas = async () => (id: string) => live.has(id)
  const models = [repository(300_000), repository(300_000), repository(300_000), repository(500_000)]
  const [old, used, next, large] = models as [
    (typeof models)[0],
    (typeof models)[0],
    (typeof models)[0],
    (typeof models)[0],
  ]
  await cache.prepare()
  let clock = Date.now() - 600_000
  const use = (model: typeof old, replica: string) => cache.use(model.content, replica, (clock += 1_000))
  await use(used, 'rep_live')
  await bring(used.content, { limits, liveReplicas })
  await use(old, 'rep_gone')
  await bring(old.content, { limits, liveReplicas })
  await use(next, 'rep_next')
  await bring(next.content, { limits, liveReplicas, ...later })
  const kept = () => readdirSync(join(folder, 'snapshots')).sort()
  assert.deepEqual(kept(), [snapshotKey(used.content), snapshotKey(next.content)].sort())
  assert.ok((await cache.heldBytes()) <= limits.bytesMaximum)
  arrived(used)
  live.add('rep_next')
  await assert.rejects(bring(large.content, { limits, liveReplicas, ...later }), { code: 'hub_too_large' })
  assert.deepEqual(kept(), [snapshotKey(used.content), snapshotKey(next.content)].sort())
  const noDisk = { bytesMaximum: 0, freeBytesMinimum: Number.MAX_SAFE_INTEGER }
  await assert.rejects(bring(large.content, { limits: noDisk, liveReplicas }), /the disk has room for 0 B/)
})

/** So late that nothing counts as just finished. */
const later = { clock: { ...quick, now: () => Date.now() + 120_000 } }

test('two processes at once bring it once; one that is killed in the middle hands it on', async () => {
  const model = repository(600_000)
  const open = Promise.withResolvers<void>()
  hub.cdn.gate = async (at) => void (at >= 300_000 && (await open.promise))
  const first = child(model.content)
  const digest = model.content.files[0]!.digest
  await cache.prepare()
  await until(systemClock, 'half of it', 30_000, async () => (await cache.here(digest)).bytes >= 200_000)
  const others = [child(model.content), child(model.content)]
  await Promise.all(others.map(({ started }) => started))
  first.process.kill('SIGKILL')
  await first.ended
  open.resolve()
  for (const { ended } of others) assert.deepEqual(await ended, { status: 0, said: 'done' })
  arrived(model)
  const from = servedOf(model.large).map((one) => one.from)
  assert.equal(from.length, 2, String(from))
  assert.ok(from[1]! >= 200_000)
})

function child(content: RemoteFiles) {
  const program = join(import.meta.dirname, 'testing', 'bring.ts')
  const process_: ChildProcess = spawn(process.execPath, [program, hub.url, folder, JSON.stringify(content)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  const { promise: started, resolve } = Promise.withResolvers<void>()
  process_.stdout!.on('data', (piece: Buffer) => {
    said += piece
    resolve()
  })
  const ended = new Promise<{ status: number | null; said: string }>((done) =>
    process_.once('close', (status) => done({ status, said: said.replace('started\n', '') })),
  )
  return { process: process_, started, ended }
}
