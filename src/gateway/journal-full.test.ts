/** What clients and operators see while the journal cannot be written; and who is in nobody's ledger. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { systemClock, until } from '../runtime/clock.ts'
import { runsAsRoot } from '../runtime/isolation.ts'
import type { JournalOptions } from '../usage/journal/journal.ts'
import { MemoryLedger, MoodyDisk, openJournal, shipperOf, temporaryRoot } from '../usage/journal/testing.ts'
import { type Bench, MockEngine, replicaOf, routeOf, startBench } from './testing.ts'

const engine = new MockEngine()
before(() => engine.listen())
after(() => engine.close())

const ask = { messages: [{ role: 'user', content: 'Hi' }] }
const afterOf = (t: TestContext) => (end: () => void | Promise<void>) => t.after(end)

async function start(t: TestContext, over: Partial<JournalOptions>, root = temporaryRoot(afterOf(t))) {
  const journal = await openJournal(afterOf(t), root, over)
  const bench = await startBench({ routes: [routeOf({ replicas: [replicaOf(engine.port)] })], metering: journal })
  t.after(() => bench.gateway.close({ drainMs: 0 }))
  return { bench, journal, root }
}

const status = async (answer: Promise<Response>) => {
  const { status, body } = await answer
  await body?.cancel()
  return status
}
const ready = async (bench: Bench) => {
  const answer = await bench.send('/readyz', { key: null })
  const state = (await answer.json()) as { ok: boolean; problems: string[]; warnings?: string[] }
  return { status: answer.status, ...state }
}

test('refuse: 503 before an engine is asked, /readyz says why, and it passes by itself', async (t) => {
  const disk = new MoodyDisk()
  const { bench, root } = await start(t, { disk })
  assert.equal(await status(bench.chat(ask)), 200)
  assert.deepEqual(await ready(bench), { status: 200, ok: true, problems: [] })
  engine.asked.length = 0
  disk.room = 0
  // The first finds out.
  const answer = await bench.chat(ask)
  const { error } = (await answer.json()) as { error: Record<string, unknown> }
  assert.deepEqual([answer.status, error.code, answer.headers.get('retry-after')], [503, 'journal_full', '5'])
  assert.equal(await status(bench.chat(ask)), 503)
  assert.equal(engine.asked.length, 0)
  const state = await ready(bench)
  assert.deepEqual([state.status, state.ok], [503, false])
  assert.match(state.problems[0]!, /The journal cannot be written: ENOSPC/)
  // Who has no key hears that, not this.
  assert.equal(await status(bench.chat(ask, { key: null })), 401)
  assert.equal(await status(bench.send('/v1/models')), 200)
  disk.room = Number.POSITIVE_INFINITY
  await until(systemClock, 'it is ready again', 5_000, async () => (await ready(bench)).ok)
  assert.equal(await status(bench.chat(ask)), 200)
  const ledger = new MemoryLedger()
  await shipperOf(root, ledger).pass()
  const served = bench.settled.filter((one) => one.status === 200)
  assert.deepEqual([served.length, served.every((one) => ledger.has(one))], [2, true])
})

test('serve_unmetered: everybody is served, /readyz warns', async (t) => {
  const disk = new MoodyDisk()
  const { bench, journal } = await start(t, { disk, whenFull: 'serve_unmetered' })
  disk.room = 0
  for (let n = 0; n < 3; n++) assert.equal(await status(bench.chat(ask)), 200)
  const state = await ready(bench)
  assert.deepEqual([state.status, state.ok, state.problems], [200, true, []])
  assert.match(state.warnings![0]!, /Requests are served uncounted/)
  assert.equal(journal.state().unrecorded, 3)
})

test('a request without a known key is in nobody’s ledger, one that is refused for another reason is', async (t) => {
  const { bench, root } = await start(t, {})
  assert.equal(await status(bench.chat(ask, { key: null })), 401)
  assert.equal(await status(bench.chat(ask, { key: 'revoked' })), 401)
  assert.equal(await status(bench.chat({ ...ask, model: 'nothing' })), 404)
  const ledger = new MemoryLedger()
  await shipperOf(root, ledger).pass()
  const [refused] = bench.settled.filter((one) => one.status === 404)
  assert.deepEqual(
    [ledger.lines.size, ledger.has(refused!), refused!.orgId, refused!.deploymentId],
    [1, true, 'org_a', null],
  )
})

/** A reason not to, or false. */
const noSmallDisk =
  process.platform !== 'linux'
    ? 'needs a small tmpfs, which is Linux'
    : runsAsRoot()
      ? false
      : 'only root may mount one'

test('a disk that is really full', { skip: noSmallDisk }, async (t) => {
  const mount = mkdtempSync(join(tmpdir(), 'paddock-small-disk-'))
  const mounted = isMounted(mount)
  const server = await start(t, { minFreeBytes: 0 }, join(mount, 'journal'))
  t.after(() => {
    if (mounted) execFileSync('umount', ['-l', mount])
    rmSync(mount, { recursive: true, force: true })
  })
  if (!mounted) return t.skip('this machine lets nobody mount')
  const { bench, root } = server
  assert.equal(await status(bench.chat(ask)), 200)
  const { bavail, bsize } = statfsSync(mount)
  writeFileSync(join(mount, 'somebody-else'), Buffer.alloc(bavail * bsize))
  let refusedAfter = 0
  // Until the page that it already has is full as well.
  while ((await status(bench.chat(ask))) === 200) refusedAfter += 1
  assert.ok(refusedAfter < 200, `${refusedAfter} answers`)
  assert.equal((await ready(bench)).ok, false)
  rmSync(join(mount, 'somebody-else'))
  await until(systemClock, 'it is ready again', 5_000, async () => (await ready(bench)).ok)
  assert.equal(await status(bench.chat(ask)), 200)
  await bench.gateway.close({ drainMs: 0 })
  const ledger = new MemoryLedger()
  await shipperOf(root, ledger).pass()
  const served = bench.settled.filter((one) => one.status === 200)
  assert.deepEqual(
    served.filter((one) => !ledger.has(one)),
    [],
  )
})

function isMounted(folder: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', folder], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
