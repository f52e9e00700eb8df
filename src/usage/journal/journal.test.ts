import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Fault } from '../../kernel/fault.ts'
import { systemClock, until } from '../../runtime/clock.ts'
import { readFrames } from './frame.ts'
import { encodeRequest, journalHead } from './record.ts'
import { draftOf, MemoryLedger, MoodyDisk, openJournal, requestOf, shipperOf, temporaryRoot } from './testing.ts'

const afterOf = (t: TestContext) => (end: () => void | Promise<void>) => t.after(end)
const rootFor = (t: TestContext) => temporaryRoot(afterOf(t))
const lines = (root: string) =>
  readdirSync(root, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith('.segment'))
    .sort()
    .map((name) => readFrames(readFileSync(join(root, name)), true).lines)

test('what was told in a turn is in the file when it is written, in one write', async (t) => {
  const root = rootFor(t)
  const disk = new MoodyDisk()
  const journal = await openJournal(afterOf(t), root, { disk })
  assert.equal(journal.written(), null)
  const [request, another] = [requestOf(), requestOf()]
  const head = { kind: 'head', text: journalHead }
  const writes = disk.writes
  const opened = journal.open(draftOf(request))
  journal.open(draftOf(another))
  assert.deepEqual(lines(root), [[head]])
  await journal.written()
  const begun = [request, another].map((one) => ({ kind: 'open', text: encodeRequest(draftOf(one)) }))
  assert.deepEqual(lines(root), [[head, ...begun]])
  assert.equal(disk.writes, writes + 1)
  journal.settle(opened, request)
  await journal.written()
  assert.equal(journal.written(), null)
  assert.deepEqual(lines(root)[0]!.at(-1), { kind: 'close', text: encodeRequest(request) })
  await journal.close()
})

test('a turn that brings more than a frame holds is written in parts', async (t) => {
  const root = rootFor(t)
  const journal = await openJournal(afterOf(t), root, { segmentBytes: 2 ** 20 })
  const requests = Array.from({ length: 500 }, () => requestOf({ model: '\u4e16'.repeat(200) }))
  const opened = requests.map((request) => journal.open(draftOf(request)))
  for (const [n, request] of requests.entries()) journal.settle(opened[n]!, request)
  await journal.written()
  const found = lines(root)[0]!
  for (const kind of ['open', 'close'])
    assert.deepEqual(
      found.filter((line) => line.kind === kind).map(({ text }) => text),
      requests.map((request) => encodeRequest(kind === 'open' ? draftOf(request) : request)),
    )
  assert.equal(journal.state().waiting, 0)
  await journal.close()
})

test('a turn that could not be written: what began in it stands nowhere, what ended in it is kept', async (t) => {
  const disk = new MoodyDisk()
  const root = rootFor(t)
  const journal = await openJournal(afterOf(t), root, { disk })
  const request = requestOf()
  const opened = journal.open(draftOf(request))!
  await journal.written()
  const late = journal.open(draftOf(requestOf()))!
  journal.settle(opened, request)
  disk.room = 10
  await journal.written()
  assert.deepEqual([opened.lost, late.lost, journal.state().waiting], [false, true, 1])
  disk.room = Number.POSITIVE_INFINITY
  await until(systemClock, 'it is written again', 5_000, () => journal.state().problem === null)
  await journal.close()
  const ledger = new MemoryLedger()
  await shipperOf(root, ledger).pass(undefined, true)
  assert.deepEqual([ledger.has(request), ledger.lines.size], [true, 1])
})

test('a new segment begins with what is still open; only that', async (t) => {
  const root = rootFor(t)
  const journal = await openJournal(afterOf(t), root, { segmentBytes: 2_000 })
  const long = requestOf()
  const stays = journal.open(draftOf(long))
  for (let n = 0; n < 20; n++) {
    const short = requestOf()
    journal.settle(journal.open(draftOf(short)), short)
    await journal.written()
  }
  const segments = lines(root)
  assert.ok(segments.length > 3, `${segments.length} segments`)
  for (const segment of segments.slice(1)) {
    assert.deepEqual(segment[0], { kind: 'head', text: journalHead })
    assert.deepEqual(segment[1], { kind: 'open', text: encodeRequest(draftOf(long)) })
    assert.ok(segment.filter(({ kind }) => kind === 'open').length <= 10)
  }
  journal.settle(stays, long)
  await journal.close()
})

test('many lines, one sync in a while', async (t) => {
  const disk = new MoodyDisk()
  const root = rootFor(t)
  const journal = await openJournal(afterOf(t), root, { disk, syncMs: 20 })
  const before = disk.syncs
  for (let n = 0; n < 200; n++) journal.settle(null, requestOf())
  await until(systemClock, 'a sync', 2_000, () => disk.syncs > before)
  assert.ok(disk.syncs - before <= 3, `${disk.syncs - before} syncs`)
  await systemClock.sleep(60)
  const quiet = disk.syncs
  await systemClock.sleep(60)
  assert.equal(disk.syncs, quiet, 'nothing is forced to the disk when nothing was written')
  await journal.close()
})

test('a full disk: refused by default, what has begun is written when there is room again', async (t) => {
  const disk = new MoodyDisk()
  const root = rootFor(t)
  const journal = await openJournal(afterOf(t), root, { disk })
  const request = requestOf()
  const opened = journal.open(draftOf(request))
  await journal.written()
  disk.room = 100
  journal.settle(opened, request)
  await journal.written()
  assert.deepEqual(
    { ...journal.state(), bytes: 0 },
    { problem: journal.state().problem, refuses: true, bytes: 0, waiting: 1, unrecorded: 0 },
  )
  assert.match(journal.state().problem!, /cannot be written: the disk took 100 of/)
  const refused = (error: unknown) =>
    error instanceof Fault && error.code === 'journal_full' && error.retryAfterSeconds === 5
  assert.throws(() => journal.open(draftOf(requestOf())), refused)
  assert.throws(() => journal.requireRoom(), refused)
  disk.room = Number.POSITIVE_INFINITY
  await until(systemClock, 'it is written again', 5_000, () => journal.state().problem === null)
  assert.equal(journal.state().waiting, 0)
  const next = requestOf()
  journal.settle(journal.open(draftOf(next)), next)
  await journal.close()
  const ledger = new MemoryLedger()
  await shipperOf(root, ledger).pass(undefined, true)
  assert.deepEqual([ledger.has(request), ledger.has(next), ledger.lines.size], [true, true, 2])
})

test('a disk that is nearly full counts as full while there is room for the ends', async (t) => {
  const disk = new MoodyDisk()
  const root = rootFor(t)
  const journal = await openJournal(afterOf(t), root, { disk, minFreeBytes: 1_000 })
  const request = requestOf()
  const opened = journal.open(draftOf(request))
  disk.free = 999
  await until(systemClock, 'it is noticed', 5_000, () => journal.state().refuses)
  assert.match(journal.state().problem!, /999 bytes free; at least 1000 are needed \(journal.min_free_bytes\)/)
  journal.settle(opened, request)
  await journal.written()
  assert.equal(journal.state().waiting, 0)
  assert.deepEqual(lines(root)[0]!.at(-1), { kind: 'close', text: encodeRequest(request) })
  disk.free = 1_000
  await until(systemClock, 'it passes', 5_000, () => journal.state().problem === null)
  await journal.close()
})

test('what is refused while the disk is nearly full takes none of the room for the ends of what has begun', async (t) => {
  const root = rootFor(t)
  const disk = new MoodyDisk()
  const journal = await openJournal(afterOf(t), root, { disk, minFreeBytes: 1_000 })
  const request = requestOf()
  const opened = journal.open(draftOf(request))
  disk.free = 999
  await until(systemClock, 'it counts as full', 5_000, () => journal.state().problem !== null)
  await journal.written()
  const before = lines(root).flat().length
  const refused = requestOf({ status: 503, code: 'journal_full', usage: null })
  for (let n = 0; n < 100; n++) journal.settle(null, refused)
  await journal.written()
  assert.equal(lines(root).flat().length, before)
  journal.settle(opened, request)
  await journal.written()
  assert.equal(lines(root).flat().length, before + 1)
  disk.free = 1_000
  await until(systemClock, 'there is room', 5_000, () => journal.state().problem === null)
  journal.settle(null, refused)
  await journal.written()
  assert.equal(lines(root).flat().length, before + 2)
  await journal.close()
})

test('serve_unmetered: requests go on, what is not counted is known', async (t) => {
  const disk = new MoodyDisk()
  const journal = await openJournal(afterOf(t), rootFor(t), { disk, whenFull: 'serve_unmetered' })
  disk.room = 0
  const lost = journal.open(draftOf(requestOf()))!
  await journal.written()
  assert.equal(lost.lost, true)
  journal.settle(null, requestOf())
  journal.requireRoom()
  assert.equal(journal.open(draftOf(requestOf())), null)
  journal.settle(null, requestOf())
  journal.settle(null, requestOf({ status: 404, code: 'model_not_found', usage: null }))
  await journal.written()
  const { refuses, unrecorded, problem } = journal.state()
  assert.deepEqual([refuses, unrecorded, problem === null], [false, 2, false])
  await journal.close()
})

test('more than journal.max_bytes that the database has not taken', async (t) => {
  const root = rootFor(t)
  const journal = await openJournal(afterOf(t), root, { maxBytes: 5_000 })
  for (let n = 0; n < 40; n++) journal.settle(null, requestOf())
  await until(systemClock, 'it is noticed', 5_000, () => journal.state().refuses)
  assert.match(journal.state().problem!, /of 5000 \(journal.max_bytes\)/)
  await journal.close()
})

test('a disk that does not force: the next look begins a new segment', async (t) => {
  const disk = new MoodyDisk()
  const root = rootFor(t)
  const journal = await openJournal(afterOf(t), root, { disk })
  disk.syncFails = true
  journal.settle(null, requestOf())
  await until(systemClock, 'it is noticed', 5_000, () => journal.state().refuses)
  disk.syncFails = false
  await until(systemClock, 'it is written again', 5_000, () => journal.state().problem === null)
  assert.ok(lines(root).length >= 2)
  await journal.close()
})

test('a folder that cannot be made is tried again', async (t) => {
  const root = rootFor(t)
  const disk = new MoodyDisk()
  disk.room = 0
  const journal = await openJournal(afterOf(t), root, { disk })
  assert.match(journal.state().problem!, /ENOSPC/)
  disk.room = Number.POSITIVE_INFINITY
  await until(systemClock, 'it is written', 5_000, () => journal.state().problem === null)
  assert.equal(readdirSync(root).length, 1)
  await journal.close()
})
