/** SIGKILL of one part of the server: the others go on, and what was killed comes back. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { Exit } from '../../src/compute/contract.ts'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { readJsonIfThere } from '../../src/runtime/files.ts'
import { signalProcess } from '../../src/runtime/processes.ts'
import { isReady, type Server, startServer } from '../e2e/harness.ts'
import { inNewPlace, Place } from '../e2e/place.ts'
import { type OwnProcess, procOnly, type Role } from '../e2e/processes.ts'
import { Talk } from './talk.ts'

const chat = { model: 'steady', messages: [{ role: 'user' as const, content: 'Hello' }], max_tokens: 2 }
/** About a second on a machine with nothing else to do; ten there would be a defect on any. */
const soonMs = 10_000

describe('SIGKILL of one part', { skip: procOnly }, () => {
  const place = new Place()
  let server: Server
  let engine: OwnProcess
  let id: string

  before(async () => {
    server = await startServer(place)
    id = (await server.deploy('steady')).id
    await server.active(id)
    engine = place.process('engine')
  })
  after(async () => {
    try {
      await server?.stop()
    } finally {
      await place.remove()
    }
  })

  /** Kills the part and waits for its successor; gives the milliseconds until `works`. */
  async function kill(role: Role, works: () => Promise<boolean>): Promise<number> {
    const before = place.process(role)
    const began = performance.now()
    assert.ok(signalProcess(before, 'SIGKILL'))
    await until(systemClock, `${role} is there again and works`, 60_000, async () => {
      const now = place.processes(role)
      return now.length === 1 && now[0]!.pid !== before.pid && (await works())
    })
    return performance.now() - began
  }

  const answers = () =>
    server.native.listDeployments().then(
      ({ data }) => data.length === 1,
      () => false,
    )

  it('control: inference goes on without a failure, engines are untouched', async () => {
    const key = await server.native.createKey({ name: 'before control died' })
    for (let round = 0; round < 3; round++) {
      const talk = new Talk(server.openai(key.secret), 'steady')
      await kill('control', answers)
      const heard = talk.answered
      await until(systemClock, 'more answers', 60_000, () => talk.answered > heard + 2)
      assert.deepEqual(await talk.end(), [])
    }
    assert.equal(place.process('engine').pid, engine.pid)
    const { data } = await server.native.listReplicas(id)
    assert.deepEqual(
      data.map(({ phase }) => phase),
      ['ready'],
    )
  })

  it('gateway: back within about a second, with its keys and routes', async (t) => {
    const key = await server.native.createKey({ name: 'before the gateway died' })
    const revoked = await server.native.createKey({ name: 'revoked before the gateway died' })
    await server.native.revokeKey(revoked.id)
    for (let round = 0; round < 3; round++) {
      const ms = await kill('gateway', () => isReady(server.url))
      t.diagnostic(`back after ${Math.round(ms)} ms`)
      assert.ok(ms < soonMs, `${Math.round(ms)} ms`)
      assert.equal((await server.openai(key.secret).chat.completions.create(chat)).object, 'chat.completion')
      await assert.rejects(server.openai(revoked.secret).chat.completions.create(chat), { status: 401 })
    }
    assert.equal(place.process('engine').pid, engine.pid)
  })

  it('control and gateway together', async () => {
    signalProcess(place.process('control'), 'SIGKILL')
    await kill('gateway', async () => (await isReady(server.url)) && (await answers()))
    assert.equal((await server.openai().chat.completions.create(chat)).object, 'chat.completion')
    assert.equal(place.process('engine').pid, engine.pid)
  })

  it('supervisor: its children and Postgres end, engines live; a start at once, on the same port, adopts them', async () => {
    const key = await server.native.createKey({ name: 'before the supervisor died' })
    for (let round = 0; round < 3; round++) {
      const old = place.processes('control', 'gateway', 'postmaster')
      server.run.child.kill('SIGKILL')
      await server.run.ended
      server = await startServer(place, { port: server.port })
      assert.equal((await server.openai(key.secret).chat.completions.create(chat)).object, 'chat.completion')
      assert.equal(place.process('engine').pid, engine.pid)
      await until(systemClock, 'the old ones are gone', 60_000, () => {
        const left = new Set(place.processes().map(({ pid }) => pid))
        return old.every(({ pid }) => !left.has(pid))
      })
      for (const role of ['supervisor', 'control', 'gateway', 'postmaster'] as const) place.process(role)
    }
  })

  it('supervisor, and nobody starts again: only engines are left, until their lease is over', async () => {
    await inNewPlace(async (other) => {
      const lone = await startServer(other, { env: { PADDOCK_COMPUTE_LOCAL_LEASE_SECONDS: '3' } })
      await lone.deploy('lone')
      await lone.active('lone')
      const { replicaId } = other.process('engine')
      lone.run.child.kill('SIGKILL')
      await until(systemClock, 'only engine and keeper', 60_000, () =>
        other.processes().every(({ role }) => role === 'engine' || role === 'keeper'),
      )
      await until(systemClock, 'the lease is over', 60_000, () => other.processes().length === 0)
      const exit = readJsonIfThere<Exit>(join(other.dataFolder, 'engines', replicaId!, 'exit.json'))
      assert.match(exit!.why, /Nobody renewed its lease/)
    })
  })
})
