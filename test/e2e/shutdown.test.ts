/** Clean ends, and starts after them: nothing is left running unless that was asked for, and then it is found again. */
import assert from 'node:assert/strict'
import { request } from 'node:http'
import { describe, it } from 'node:test'
import { signalProcess } from '../../src/runtime/processes.ts'
import { isClosed, Run, type Server, startServer, stopWithinMs } from './harness.ts'
import { inNewPlace } from './place.ts'
import { procOnly } from './processes.ts'

const chat = { model: 'stay', messages: [{ role: 'user', content: 'Hello' }] }

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
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    it(`on ${signal}, with a stream under way, within 10 s; everything ends, engines too`, async () => {
      await inNewPlace(async (place) => {
        const server = await startServer(place)
        await server.deploy('stay')
        await server.active('stay')
        const { rest } = await openStream(server, 8_000)
        const ms = await server.stop(signal)
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

  it('while it is still starting', async () => {
    await inNewPlace(async (place) => {
      const run = new Run(place, {})
      await new Promise((resolve) => run.child.once('spawn', resolve))
      run.child.kill('SIGTERM')
      const { status, signal } = await run.end()
      assert.ok(status === 0 || signal === 'SIGTERM', `${status} ${signal} ${run.output}`)
      await place.expectNoProcess()
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
  it('leaves engines; the next start adopts them without a restart', async () => {
    await inNewPlace(async (place) => {
      const first = await startServer(place, { args: ['--keep-engines'] })
      await first.deploy('stay')
      const { id } = await first.active('stay')
      const engine = place.process('engine')
      const keeper = place.process('keeper')
      await first.stop()
      assert.deepEqual(
        place
          .processes()
          .map(({ pid }) => pid)
          .sort(),
        [engine.pid, keeper.pid].sort(),
      )

      const second = await startServer(place, { port: first.port })
      const answer = await second.openai().chat.completions.create({ ...chat, max_tokens: 2 } as never)
      assert.ok(answer)
      assert.equal(place.process('engine').pid, engine.pid)
      const replicas = (await second.native.listReplicas(id)).data
      assert.deepEqual(
        replicas.map(({ phase }) => phase),
        ['ready'],
      )
      assert.equal(second.operatorKey, first.operatorKey)
      assert.ok(!second.run.output.includes(second.operatorKey), 'a later start does not show the key again')
      await second.stop()
    })
  })

  it('and engines end by themselves when no start comes within their lease', async () => {
    await inNewPlace(async (place) => {
      const env = { PADDOCK_COMPUTE_LOCAL_LEASE_SECONDS: '2' }
      const server = await startServer(place, { args: ['--keep-engines'], env })
      await server.deploy('stay')
      await server.active('stay')
      await server.stop()
      assert.equal(place.processes('engine').length, 1)
      // `remove` waits for the end of every process.
    })
  })

  it('what died meanwhile is replaced, and its cost ends at its death', async () => {
    await inNewPlace(async (place) => {
      const first = await startServer(place, { args: ['--keep-engines'] })
      await first.deploy('stay')
      const { id } = await first.active('stay')
      const engine = place.process('engine')
      await first.stop()
      const killedAt = Date.now()
      signalProcess(engine, 'SIGKILL')
      await place.expectNoProcess()

      const second = await startServer(place, { port: first.port })
      await second.openai().chat.completions.create({ ...chat, max_tokens: 2 } as never)
      assert.notEqual(place.process('engine').pid, engine.pid)
      const dead = (await second.native.listReplicas(id)).data.find(({ ended_at }) => ended_at !== null)
      assert.ok(Math.abs(Date.parse(dead!.ended_at!) - killedAt) < 1_000, `${dead!.ended_at} vs ${killedAt}`)
      await second.stop()
    })
  })
})
