/** Two gateway workers on one port: one dies, the other is not disturbed; together they stop, count and refuse as one. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { isClosed } from '../e2e/harness.ts'
import { procOnly } from '../e2e/processes.ts'
import type { Stream } from './workers/stream.ts'
import { type Death, heldMaximum, longMs, WorkersWorld } from './workers/world.ts'

const fewPerWorker = 2

// Where ports cannot be shared there are no several workers.
describe('two workers', { skip: procOnly }, () => {
  let world: WorkersWorld
  /** Requests that were begun and how each ended, as the client saw it. */
  const known: Stream[] = []

  before(async () => {
    world = await WorkersWorld.open()
  })
  after(() => world?.close())

  const allEnd = (streams: Stream[]) => Promise.all(streams.map(({ ended }) => ended))
  const count = (ends: string[], end: string) => ends.filter((one) => one === end).length

  it('both answer', async () => {
    const { streams } = await world.openOnBoth(fewPerWorker)
    known.push(...streams)
    world.finish()
    assert.deepEqual(new Set(await allEnd(streams)), new Set(['whole']))
  })

  for (const how of ['exit', 'throw', 'memory'] as Death[])
    it(`one dies (${how}): the other’s streams go on, the port answers, and it comes back`, async () => {
      const { streams, shares } = await world.openOnBoth(fewPerWorker)
      known.push(...streams)
      const dead = await world.kill(how)
      const beats = streams.map(({ text }) => text.split('beat').length)
      world.beat()
      const alive = () => streams.filter(({ text }, at) => text.split('beat').length > beats[at]!)
      await until(systemClock, 'the other’s streams go on', longMs, () => alive().length === shares[1 - dead])
      const more = Array.from({ length: 5 }, () => world.stream())
      known.push(...more)
      await Promise.all(more.map(({ begun }) => begun))
      world.finish()
      const ends = await allEnd(streams)
      assert.deepEqual([count(ends, 'whole'), count(ends, 'broken')], [shares[1 - dead], shares[dead]])
      assert.deepEqual(new Set(await allEnd(more)), new Set(['whole']))
      // The row of the dead is that of its successor once that has reported.
      await world.shares(0)
      const again = await world.openOnBoth(1)
      known.push(...again.streams)
      world.finish()
      assert.deepEqual(new Set(await allEnd(again.streams)), new Set(['whole']))
    })

  it('what the dead had counted counts no more', async () => {
    await world.route([])
    const held = await world.holdUntilFull()
    assert.equal(held.length, heldMaximum)
    await world.kill('exit')
    const room = await world.holdUntilFull()
    assert.ok(room.length > 0)
    const alive = () => held.filter(({ isBroken }) => !isBroken)
    await until(systemClock, 'as many were lost', longMs, () => alive().length === heldMaximum - room.length)
    const waiting = [...alive(), ...room]
    known.push(...waiting)
    await world.route(world.engines)
    await until(systemClock, 'all are answered', longMs, () => world.answering === heldMaximum)
    world.finish()
    assert.deepEqual(new Set(await allEnd(waiting)), new Set(['whole']))
  })

  it('a revoked key is refused by both when the revocation says so', async () => {
    // On a machine that is busy with much else a second may not be enough to tell all; it then says so.
    for (let round = 0; round < 5; round++) {
      const { key, secret, ...made } = await world.access.createKey(
        world.operator,
        { name: `short-lived ${round}` },
        null,
      )
      const open = made.propagated ? Array.from({ length: 8 }, () => world.stream(secret)) : []
      known.push(...open)
      await Promise.all(open.map(({ begun }) => begun))
      world.finish()
      await allEnd(open)
      const revoked = await world.access.revokeKey(world.operator, key.id)
      if (!made.propagated || !revoked.propagated) continue
      const refused = Array.from({ length: 16 }, () => world.stream(secret))
      await allEnd(refused)
      assert.deepEqual(new Set(refused.map(({ status }) => status)), new Set([401]))
      return
    }
    assert.fail('never told all within a second')
  })

  it('a planned stop refuses connections and finishes what runs; the ledger has every request once', async () => {
    const { streams } = await world.openOnBoth(fewPerWorker)
    known.push(...streams)
    const status = world.stop()
    await until(systemClock, 'the port is closed', longMs, () => isClosed(world.port))
    world.finish()
    assert.deepEqual(new Set(await allEnd(streams)), new Set(['whole']))
    assert.equal(await status, 0)
    // What was refused is there as well, and no engine was asked.
    const lines = (await world.ledger()).filter((line) => line.status !== 503)
    assert.deepEqual(lines.map(({ id }) => id).sort(), [...world.asked].sort())
    const ends = await allEnd(known)
    assert.equal(lines.length, ends.length)
    for (const [status, end] of [
      [200, 'whole'],
      [500, 'broken'],
    ] as const)
      assert.equal(lines.filter((line) => line.status === status).length, count(ends, end), end)
    const [sums] = await world.db.query<{ requests: string }>(
      'select sum(requests) as requests from usage_minutes where status <> 503',
    )
    assert.equal(Number(sums!.requests), lines.length)
    const snapshot = JSON.parse(readFileSync(join(world.folder, 'snapshot.json'), 'utf8')) as { routes: unknown[] }
    assert.equal(snapshot.routes.length, 1)
  })
})
