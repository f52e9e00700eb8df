/**
 * SIGKILL of gateways and control while clients ask, with the database away now and then and batches that come twice and
 * in any order: what was answered is in the ledger, with the tokens that the engine served, once.
 * `KILLS=1000 SEED=…` and `OUTAGE_SECONDS=600` for the long forms.
 */
// test timeout: 7200 s
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { systemClock } from '../../src/runtime/clock.ts'
import { compiledFolder } from '../e2e/place.ts'
import { procOnly } from '../e2e/processes.ts'
import { Random } from '../paper/random.ts'
import type { KilledPart } from './metering/part.ts'
import { MeteringWorld, type WorldOptions } from './metering/world.ts'

const kills = Number(process.env.KILLS ?? 40)
const seed = Number(process.env.SEED ?? systemClock.now() % 1_000_000)
const gatewayCount = 4
/** Most that a gateway answers before it is killed again. */
const answersMaximum = 15
const pauseMsMaximum = 60
const blinkMsMaximum = 150

/** At memory, while the database is away. */
const looks = 8
const outageSeconds = Number(process.env.OUTAGE_SECONDS ?? 4)
/**
 * What a gateway may grow by in an outage, however long: a heap that has not worked yet takes its room once, and what is
 * not shipped takes none. In the second half of a long one all that is over.
 */
const growthBytesMaximum = 96 * 1024 * 1024
const longSeconds = 60
const laterGrowthBytesMaximum = 24 * 1024 * 1024

type Victims = 'a gateway' | 'control' | 'a gateway and control' | 'two gateways' | 'one that is starting'
const weights: Record<Victims, number> = {
  'a gateway': 6,
  control: 1,
  'a gateway and control': 1,
  'two gateways': 3,
  'one that is starting': 1,
}

async function inWorld(options: Partial<WorldOptions>, work: (world: MeteringWorld) => Promise<void>): Promise<void> {
  const random = new Random(seed)
  const world = await MeteringWorld.open({
    ...{ random, cacheFolder: compiledFolder, gateways: 2, hasWorkers: false, keepsCopies: true },
    ...options,
  })
  try {
    await work(world)
  } catch (error) {
    throw new Error(`${(error as Error).message} (SEED=${seed})\n${world.words()}`, { cause: error })
  } finally {
    await world.close()
  }
}

/** Kills it at a random moment after it has answered some. */
async function killAtWork(world: MeteringWorld, gateway: KilledPart): Promise<void> {
  await gateway.answers(world.random.int(1, answersMaximum))
  await systemClock.sleep(world.random.int(0, pauseMsMaximum))
  await world.killGateway(gateway)
}

/** Those that have been ready for longest come first. Gives the number of processes that were killed. */
async function killSome(world: MeteringWorld): Promise<number> {
  const { random } = world
  const gateways = world.gateways.toSorted((one, other) => other.answered - one.answered)
  const victims = random.weighted(weights)
  if (victims === 'control' || victims === 'a gateway and control') await world.killControl()
  if (victims === 'control') return 1
  if (victims === 'one that is starting') {
    await world.killGateway(gateways.at(-1)!)
    return 1
  }
  const chosen = victims === 'two gateways' ? gateways.slice(0, 2) : gateways.slice(0, 1)
  await Promise.all(chosen.map((gateway) => killAtWork(world, gateway)))
  return victims === 'a gateway' ? 1 : 2
}

/**
 * The database goes; gateways and control die, start without it, answer from what they kept, and die again as it comes
 * back. Gives the number of processes that were killed.
 */
async function outage(world: MeteringWorld): Promise<number> {
  const { gateways, random } = world
  world.shutDoor()
  await world.killControl()
  const first = gateways.filter(() => random.chance(0.8))
  await Promise.all(first.map((gateway) => killAtWork(world, gateway)))
  const second = gateways.filter(() => random.chance(0.8))
  const dying = second.map((gateway) => killAtWork(world, gateway))
  await Promise.all(dying.slice(1))
  world.unshutDoor()
  await dying[0]
  return 1 + first.length + second.length
}

/** It goes for a moment: what it has just been given may be there or not. */
async function blink(world: MeteringWorld): Promise<void> {
  world.shutDoor()
  await systemClock.sleep(world.random.int(0, blinkMsMaximum))
  world.unshutDoor()
}

test(`${kills} kills: nothing is lost, nothing doubled (SEED=${seed})`, async (t) => {
  await inWorld({ gateways: gatewayCount, hasWorkers: true }, async (world) => {
    let made = 0
    for (let round = 1; made < kills; round++) {
      made += await killSome(world)
      if (round % 3 === 1) await blink(world)
      if (round % 8 === 5) await world.repeat()
      if (round % 10 === 3) made += await outage(world)
    }
    await world.takenOver()
    const { problems, acknowledged, served, recorded, rows } = await world.verdict()
    const what = `${made} kills, ${acknowledged} of ${rows} requests acknowledged: ${served} tokens served, ${recorded} recorded; ${world.repeated} lines repeated from ${world.copies} copies`
    t.diagnostic(what)
    assert.deepEqual(problems, [])
    assert.equal(recorded, served)
    assert.ok(acknowledged > kills && world.repeated > 0, what)
  })
})

test(`the database is away for ${outageSeconds} s: inference goes on, what is not shipped lies on the disk`, {
  skip: procOnly,
}, async (t) => {
  await inWorld({}, async (world) => {
    const { clients, gateways } = world
    await Promise.all(gateways.map((gateway) => gateway.answers(100)))
    world.shutDoor()
    const from = { answered: clients.acknowledged, bytes: await world.journalBytes() }
    const rss = [gateways.map(rssBytes)]
    for (let look = 0; look < looks; look++) {
      await systemClock.sleep((outageSeconds * 1000) / looks)
      rss.push(gateways.map(rssBytes))
    }
    const most = (from: number, to: number) =>
      gateways.map((_, n) => Math.max(...rss.slice(from, to).map((both) => both[n]!)))
    const grown = Math.max(...rss.at(-1)!.map((bytes, n) => bytes - rss[0]![n]!))
    const answered = clients.acknowledged - from.answered
    const bytes = (await world.journalBytes()) - from.bytes
    await world.takenOver()
    const { problems, served, recorded } = await world.verdict()
    t.diagnostic(
      `${answered} answers, ${bytes} bytes of journal; MiB of the gateways: ${rss.map((both) => both.map(mib).join(' + ')).join(', ')}`,
    )
    assert.deepEqual(
      clients.told.filter(({ outcome }) => outcome === 'broken' || outcome === 'refused'),
      [],
    )
    assert.deepEqual([problems, recorded], [[], served])
    assert.ok(answered > 20 && bytes > answered * 100, `${answered} answers, ${bytes} bytes`)
    assert.ok(grown < growthBytesMaximum, `they grew by ${grown} bytes`)
    // Memory comes in waves: crest against crest.
    const [before, after] = [most(0, looks / 2 + 1), most(looks / 2 + 1, rss.length)]
    const later = outageSeconds < longSeconds ? 0 : Math.max(...after.map((bytes, n) => bytes - before[n]!))
    assert.ok(later < laterGrowthBytesMaximum, `in the second half they grew by ${later} bytes`)
  })
})

function rssBytes({ pid }: { pid: number }): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024
}

function mib(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(1)
}

/** The same with a bug in the gateways; the verdict must see it. */
async function planted(plant: string, kills: number, keepsCopies = true): Promise<string[]> {
  let problems: string[] = []
  await inWorld({ plant: `plants/${plant}`, keepsCopies }, async (world) => {
    for (let made = 0; made < kills; made++) {
      const gateway = world.gateways[made % 2]!
      await gateway.answers(30)
      await world.killGateway(gateway)
    }
    await world.takenOver()
    problems = (await world.verdict()).problems
  })
  return problems
}

test('planted: lines that are called committed and are not', async () => {
  const problems = await planted('no-commit.mjs', 1, false)
  assert.match(problems.join('\n'), /is not there|ended as 500|sums/)
})

test('planted: a ledger that takes a request twice', async () => {
  const problems = await planted('no-idempotency.mjs', 1)
  assert.match(problems.join('\n'), /is there \d+ times/)
})

test('planted: an answer that leaves before it is settled', async () => {
  const problems = await planted('late-settlement.mjs', 4)
  assert.match(problems.join('\n'), /was answered with .* and is there as .*"status":500/)
})
