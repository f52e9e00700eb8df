/** Clean ends, and starts after them: nothing is left running unless that was asked for, and then it is found again. */
import assert from 'node:assert/strict'
import { request } from 'node:http'
import { describe, it } from 'node:test'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { signalProcess } from '../../src/runtime/processes.ts'
import { isClosed, Run, type Server, startServer, stopWithinMs } from './harness.ts'
import { inNewPlace } from './place.ts'
import { type OwnProcess, procOnly } from './processes.ts'

const chat = { model: 'stay', messages: [{ role: 'user' as const, content: 'Hello' }], max_tokens: 2 }

/** A stream of which the first event has come; `rest` is everything until its end, however it ends. */
function openStream(server: Server, maxTokens: number): Promise<{ rest: Promise<string> }> {
  const headers = { authorization: `Bearer ${server.operatorKey}`, 'content-type': 'application/json' }
  const path = '/v1/chat/completions'
  return new Promise((resolve, reject) => {
    const call = request(
      { port: server.port, host: '127.0.0.1', method: 'POST', path, headers, agent: false },
      (answer) => {
        let text = ''
        const rest = new Promise<string>((done) => {
          answer.on('end', () => done(text))
          answer.on('error', () => done(`${text}\n(cut off)`))
        })
        answer.once('data', () => resolve({ rest }))
        answer.on('data', (chunk: Buffer) => (text += chunk.toString()))
      },
    )
    call.on('error', reject)
    call.end(JSON.stringify({ ...chat, stream: true, max_tokens: maxTokens, ignore_eos: true }))
  })
}

describe('a clean stop', () => {
  it('on SIGTERM, with a long stream under way, within 10 s; everything ends, workers and engines too', async () => {
    await inNewPlace(async (place) => {
      const server = await startServer(place, { env: { PADDOCK_GATEWAY_WORKERS: '2' } })
      await server.deploy('stay')
      await server.active('stay')
      const { rest } = await openStream(server, 8_000)
      const ms = await server.stop('SIGTERM')
      assert.ok(ms < stopWithinMs, `${ms} ms`)
      assert.ok((await rest).includes('data: '), 'what was under way was not thrown away silently')
      await place.expectNoProcess()
    })
  })

  it('on Ctrl-C in a terminal, which reaches every process of the group: a short stream is finished first', async () => {
    await inNewPlace(async (place) => {
      const server = await startServer(place, { ownGroup: true })
      await server.deploy('stay')
      await server.active('stay')
      const { rest } = await openStream(server, 200)
      process.kill(-server.pid, 'SIGINT')
      assert.deepEqual(await server.run.end(), { status: 0, signal: null }, server.run.output)
      assert.match(await rest, /data: \[DONE\]\s*$/)
      await place.expectNoProcess()
    })
  })

  it('while it is still starting', { skip: procOnly }, async () => {
    await inNewPlace(async (place) => {
      const run = new Run(place, {})
      await until(systemClock, 'its parts are being started', 60_000, () => place.processes('control').length > 0)
      run.child.kill('SIGTERM')
      assert.deepEqual(await run.end(), { status: 0, signal: null }, run.output)
      await place.expectNoProcess()
      const server = await startServer(place)
      await server.stop()
    })
  })

  it('of `serve --stop-with-parent` when its parent goes', async () => {
    await inNewPlace(async (place) => {
      const server = await startServer(place, { ownGroup: true })
      server.run.child.stdin!.destroy()
      assert.deepEqual(await server.run.end(), { status: 0, signal: null }, server.run.output)
      assert.ok(await isClosed(server.port))
      await place.expectNoProcess()
    })
  })
})

describe('--keep-engines', { skip: procOnly }, () => {
  it('leaves engines; the next start adopts them without a restart, and replaces what died meanwhile', async () => {
    await inNewPlace(async (place) => {
      const first = await startServer(place, { args: ['--keep-engines'] })
      await first.deploy('stay')
      const { id } = await first.active('stay')
      const engine = place.process('engine')
      const keeper = place.process('keeper')
      await first.stop()
      assert.deepEqual(pids(place.processes()), pids([engine, keeper]))

      const second = await startServer(place, { port: first.port, args: ['--keep-engines'] })
      await second.openai().chat.completions.create(chat)
      assert.equal(place.process('engine').pid, engine.pid)
      assert.deepEqual(
        (await second.native.listReplicas(id)).data.map(({ phase }) => phase),
        ['ready'],
      )
      assert.equal(second.operatorKey, first.operatorKey)
      assert.ok(!second.run.output.includes(second.operatorKey), 'a later start does not show the key again')
      await second.stop()

      const killedAt = systemClock.now()
      signalProcess(engine, 'SIGKILL')
      await place.expectNoProcess()
      const third = await startServer(place, { port: first.port })
      await third.openai().chat.completions.create(chat)
      assert.notEqual(place.process('engine').pid, engine.pid)
      const dead = (await third.native.listReplicas(id)).data.find(({ ended_at }) => ended_at !== null)
      const endedAfterMs = Date.parse(dead!.ended_at!) - killedAt
      assert.ok(Math.abs(endedAfterMs) < 1_000, `its cost ends at its death, not ${endedAfterMs} ms after it`)
      await third.stop()
    })
  })
})

function pids(processes: OwnProcess[]): number[] {
  return processes.map(({ pid }) => pid).sort()
}
