import assert from 'node:assert/strict'
import { appendFileSync, cpSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Random } from '../../../test/paper/random.ts'
import { systemClock, until } from '../../runtime/clock.ts'
import type { SettledRequest } from '../request.ts'
import type { Opened } from './batch.ts'
import { frameMaximumBytes, writeFrame } from './frame.ts'
import type { Journal } from './journal.ts'
import { encodeRequest } from './record.ts'
import type { Ledger, Shipper } from './shipper.ts'
import { draftOf, MemoryLedger, openJournal, requestOf, shipperOf, temporaryRoot } from './testing.ts'

const afterOf = (t: TestContext) => (end: () => void | Promise<void>) => t.after(end)
const segments = (root: string) =>
  readdirSync(root, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith('.segment'))

/** Begins and settles as many, each in a turn of its own. */
async function serve(journal: Journal, count: number): Promise<SettledRequest[]> {
  const requests = Array.from({ length: count }, () => requestOf())
  for (const request of requests) {
    journal.settle(journal.open(draftOf(request)), request)
    await journal.written()
  }
  return requests
}

test('a writer that lives: what it settles comes at once, full segments go, the newest stays', async (t) => {
  const root = temporaryRoot(afterOf(t))
  const journal = await openJournal(afterOf(t), root, { segmentBytes: 3_000 })
  const ledger = new MemoryLedger()
  const shipper = shipperOf(root, ledger)
  const first = await serve(journal, 30)
  const open = requestOf()
  const opened = journal.open(draftOf(open))
  await journal.written()
  assert.ok(segments(root).length > 3)
  await shipper.pass(undefined, true)
  assert.deepEqual([first.every((one) => ledger.has(one)), ledger.lines.size], [true, 30])
  assert.equal(segments(root).length, 1)
  const second = await serve(journal, 3)
  journal.settle(opened, open)
  await journal.written()
  await shipper.pass()
  assert.deepEqual([[...second, open].every((one) => ledger.has(one)), ledger.given], [true, 34])
  assert.deepEqual(shipper.state(), { shipped: 34, repeated: 0, rejected: 0, failingSince: null })
})

test('a writer that died: what it had begun is settled as 500, not charged; its folder goes', async (t) => {
  const root = temporaryRoot(afterOf(t))
  const journal = await openJournal(afterOf(t), root, { segmentBytes: 2_000 })
  const long = requestOf()
  journal.open(draftOf(long))
  const short = await serve(journal, 20)
  await journal.close()
  const ledger = new MemoryLedger()
  const shipper = shipperOf(root, ledger)
  await shipper.pass(undefined, true)
  assert.ok(short.every((one) => ledger.has(one)))
  assert.equal(ledger.lines.get(long.requestId), encodeRequest(draftOf(long)))
  assert.deepEqual([ledger.lines.size, readdirSync(root)], [21, []])
})

test('several writers share the disk: each is shipped by its own, and when it has died by one of the others', async (t) => {
  const root = temporaryRoot(afterOf(t))
  const journals = [await openJournal(afterOf(t), root), await openJournal(afterOf(t), root)] as const
  const ledgers = [new MemoryLedger(), new MemoryLedger()] as const
  const shippers = journals.map((journal, at) => shipperOf(root, ledgers[at]!, { own: () => journal.folder }))
  const ship = () => Promise.all(shippers.map((shipper) => shipper.pass(undefined, true)))
  const settled = await Promise.all(journals.map((journal) => serve(journal, 5)))
  await ship()
  for (const at of [0, 1]) {
    assert.ok(settled[at]!.every((one) => ledgers[at]!.has(one)))
    assert.equal(ledgers[at]!.given, 5)
  }
  const late = await serve(journals[1], 3)
  await journals[1].close()
  await shippers[0]!.pass(undefined, true)
  assert.ok(late.every((one) => ledgers[0].has(one)))
  assert.equal(readdirSync(root).length, 1)
})

test('the ledger is away: everything stays, nothing is kept in memory, then all of it comes', async (t) => {
  const root = temporaryRoot(afterOf(t))
  const journal = await openJournal(afterOf(t), root, { segmentBytes: 3_000 })
  const ledger = new MemoryLedger()
  const shipper = shipperOf(root, ledger)
  ledger.away = true
  const all = await serve(journal, 1)
  const stop = new AbortController()
  const running = shipper.run(stop.signal)
  await until(systemClock, 'it is noticed', 5_000, () => shipper.state().failingSince !== null)
  all.push(...(await serve(journal, 99)))
  const before = segments(root).length
  await assert.rejects(shipper.pass(), /away/)
  assert.equal(segments(root).length, before)
  ledger.away = false
  await until(systemClock, 'it has come', 10_000, () => all.every((one) => ledger.has(one)))
  await until(systemClock, 'all is well', 5_000, () => shipper.state().failingSince === null)
  stop.abort()
  await running
  assert.equal(segments(root).length, 1)
})

test('lines that the ledger refuses are set aside, those beside them come', async (t) => {
  const root = temporaryRoot(afterOf(t))
  const journal = await openJournal(afterOf(t), root)
  const good = await serve(journal, 20)
  const bad = requestOf({ keyId: 'spoiled' })
  journal.settle(null, bad)
  good.push(...(await serve(journal, 20)))
  const inner = new MemoryLedger()
  const ledger: Ledger = {
    record: (lines) => {
      if (lines.some((line) => line.includes('spoiled'))) throw new TypeError('not a key')
      return inner.record(lines)
    },
    refuses: (error) => error instanceof TypeError,
  }
  const shipper = shipperOf(root, ledger)
  await shipper.pass()
  assert.deepEqual([good.every((one) => inner.has(one)), shipper.state().rejected], [true, 1])
  assert.equal(readFileSync(join(root, 'rejected.log'), 'utf8'), `${encodeRequest(bad)}\n`)
})

test('requests that the ledger may have forgotten already are not taken again', async (t) => {
  const root = temporaryRoot(afterOf(t))
  const journal = await openJournal(afterOf(t), root)
  const old = requestOf({ receivedAt: 1_000 })
  journal.settle(null, old)
  const [young] = await serve(journal, 1)
  const ledger = new MemoryLedger()
  await shipperOf(root, ledger, { horizon: () => 2_000 }).pass()
  assert.deepEqual([ledger.has(young!), ledger.lines.size], [true, 1])
  assert.equal(readFileSync(join(root, 'rejected.log'), 'utf8'), `${encodeRequest(old)}\n`)
})

test('what another release wrote is neither shipped nor dropped', async (t) => {
  const root = temporaryRoot(afterOf(t))
  const journal = await openJournal(afterOf(t), root)
  await journal.close()
  const bytes = Buffer.alloc(frameMaximumBytes)
  const [name] = segments(root)
  writeFileSync(join(root, name!), bytes.subarray(0, writeFrame(bytes, 0, 'head', '{"journal":3}')))
  await assert.rejects(shipperOf(root, new MemoryLedger()).pass(undefined, true), /written by another release/)
  assert.deepEqual(segments(root), [name])
})

test('a folder that somebody removes, or that holds something else, is no trouble', async (t) => {
  const root = temporaryRoot(afterOf(t))
  const ledger = new MemoryLedger()
  await shipperOf(root, ledger).pass(undefined, true)
  const journal = await openJournal(afterOf(t), root)
  appendFileSync(join(root, 'notes.txt'), 'x')
  const [request] = await serve(journal, 1)
  await shipperOf(root, ledger).pass(undefined, true)
  assert.ok(ledger.has(request!))
})

/** A ledger that fails now and then, also after it has taken what it was given. */
class UnsteadyLedger extends MemoryLedger {
  readonly #random: Random

  constructor(random: Random) {
    super()
    this.#random = random
  }

  override async record(lines: readonly string[]): Promise<number> {
    if (this.#random.chance(0.3)) throw new Error('the database is away')
    const fresh = await super.record(lines)
    if (this.#random.chance(0.2)) throw new Error('the connection broke during the commit')
    return fresh
  }
}

interface Story {
  settled: SettledRequest[]
  begun: SettledRequest[]
}

/**
 * Writes at random, with segments so small that they change all the time; some requests stay open. `together`: how likely
 * it is that a line shares its turn with the next one.
 */
async function live(journal: Journal, random: Random, together: number): Promise<Story> {
  const open: { request: SettledRequest; opened: Opened | null }[] = []
  const settled: SettledRequest[] = []
  for (let step = 0; step < 60; step++) {
    if (open.length > 0 && random.chance(0.45)) {
      const [one] = open.splice(random.int(0, open.length - 1), 1)
      journal.settle(one!.opened, one!.request)
      settled.push(one!.request)
    } else if (random.chance(0.8)) {
      const request = requestOf()
      open.push({ request, opened: journal.open(draftOf(request)) })
    } else {
      const refused = requestOf({ status: 429, code: 'rate_limited', usage: null })
      journal.settle(null, refused)
      settled.push(refused)
    }
    if (!random.chance(together)) await journal.written()
  }
  await journal.written()
  return { settled, begun: open.map(({ request }) => request) }
}

/** Some passes by a process that dies after them. */
async function ship(shipper: Shipper, random: Random): Promise<void> {
  for (let pass = random.int(1, 3); pass > 0; pass--) {
    const dies = new AbortController()
    if (random.chance(0.2)) dies.abort()
    await shipper.pass(dies.signal, true).catch(() => {})
  }
  shipper.close()
}

/** What must be in the ledger, and nothing else. */
function check(ledger: MemoryLedger, stories: Story[], torn: boolean): void {
  const settled = stories.flatMap((story) => story.settled)
  const begun = stories.flatMap((story) => story.begun)
  const missing = settled.filter((one) => !ledger.has(one)).map(({ requestId }) => requestId)
  const lost = begun.filter((one) => ledger.lines.get(one.requestId) !== encodeRequest(draftOf(one)))
  // A power failure takes the last lines; they were written within the last milliseconds.
  if (torn) assert.ok(missing.length + lost.length <= 2, `${missing.length} and ${lost.length} are missing`)
  else assert.deepEqual({ missing, lost }, { missing: [], lost: [] })
  assert.ok(ledger.lines.size <= settled.length + begun.length)
}

/** Writers that live and die, shippers that live and die, a ledger that comes and goes, every folder twice. */
async function world(t: TestContext, seed: number, ledgerOf: (random: Random) => MemoryLedger): Promise<void> {
  const random = new Random(seed)
  const torn = random.chance(0.3)
  const root = temporaryRoot(afterOf(t))
  const ledger = ledgerOf(random)
  const stories: Story[] = []
  for (let writer = 0; writer < 3; writer++) {
    const journal = await openJournal(afterOf(t), root, { segmentBytes: random.int(800, 6_000), syncMs: 1_000 })
    stories.push(await live(journal, random, torn ? 0 : 0.6))
    // Shipped while it lives.
    if (random.chance(0.7)) await ship(shipperOf(root, ledger), random)
    stories.push(await live(journal, random, torn ? 0 : 0.6))
    // It dies. Of what it leaves, some is shipped once more from a copy.
    if (random.chance(0.5)) cpSync(root, `${root}-copy-${writer}`, { recursive: true })
    await journal.close()
    if (torn && writer === 2) tear(root, random)
    if (random.chance(0.7)) await ship(shipperOf(root, ledger), random)
  }
  const everywhere = readdirSync(join(root, '..')).map((name) => join(root, '..', name))
  for (const one of everywhere) {
    const last = shipperOf(one, ledger)
    await until(
      systemClock,
      'all is shipped',
      20_000,
      () =>
        last.pass(undefined, true).then(
          () => true,
          () => false,
        ),
      0,
    )
    assert.deepEqual(segments(one), [])
  }
  check(ledger, stories, torn)
}

function tear(root: string, random: Random): void {
  const newest = segments(root).sort().at(-1)!
  const path = join(root, newest)
  const { length } = readFileSync(path)
  truncateSync(path, Math.max(0, length - random.int(1, 300)))
}

const seed = Number(process.env.SEED ?? systemClock.now() % 1_000_000)

test(`nothing is lost and nothing doubled, whoever dies whenever (SEED=${seed})`, async (t) => {
  for (let n = 0; n < 8; n++) await world(t, seed + n, (random) => new UnsteadyLedger(random))
})

test('planted: a ledger that says yes and keeps nothing is caught', async (t) => {
  class Forgetful extends MemoryLedger {
    override async record(lines: readonly string[]): Promise<number> {
      return this.given++ % 5 === 0 ? lines.length : super.record(lines)
    }
  }
  await assert.rejects(
    world(t, 1, () => new Forgetful()),
    /missing/,
  )
})
