/** A replica whose machine takes no connection and refuses none: the watchdog of connecting. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { systemClock, until } from '../runtime/clock.ts'
import { type Bench, MockEngine, replicaOf, routeOf, startBench } from './testing.ts'

/** Listens for one connection and then never looks again: what comes beyond its queue is not answered at all. */
const deaf = `
  const server = require('node:net').createServer()
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    require('node:fs').writeSync(1, String(server.address().port))
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  })`
const fillers = 4
const connectMs = 300

let child: ChildProcess
let engine: MockEngine
let bench: Bench
const waiting: Socket[] = []
before(async () => {
  child = spawn(process.execPath, ['-e', deaf], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [port] = (await once(child.stdout!, 'data')) as [Buffer]
  engine = await new MockEngine().listen()
  bench = await startBench({
    routes: [
      routeOf({ replicas: [replicaOf(Number(port)), replicaOf(engine.port)] }),
      routeOf({ deploymentId: 'dep_2', name: 'alone', replicas: [replicaOf(Number(port), { id: 'rep_alone' })] }),
    ],
    over: { 'gateway.connect_timeout_seconds': connectMs / 1000, 'hold.max_seconds': 1 },
  })
  for (let n = 0; n < fillers; n++) {
    const socket = connect(Number(port), '127.0.0.1')
    socket.on('error', () => {})
    waiting.push(socket)
  }
  await until(systemClock, 'its queue is full', 10_000, () => waiting.some(({ connecting }) => !connecting))
})
after(async () => {
  for (const socket of waiting) socket.destroy()
  await bench.gateway.close({ drainMs: 0 })
  await engine.close()
  child.kill('SIGKILL')
  await once(child, 'exit')
})

test('requests go to the other replica, once the time to connect is over, and are charged once', async () => {
  const answers = await Promise.all([1, 2, 3, 4].map(() => bench.chat({ messages: [] })))
  assert.deepEqual(
    answers.map(({ status, headers }) => [status, headers.get('x-paddock-replica')]),
    answers.map(() => [200, `rep_${engine.port}`]),
  )
  assert.deepEqual(
    (await bench.settledUntil(4)).map(({ status }) => status),
    [200, 200, 200, 200],
  )
})

test('where there is no other: 503, after the time that a request is held', async () => {
  const refused = await bench.chat({ model: 'alone', messages: [] })
  assert.equal(refused.status, 503)
  assert.ok(Number(refused.headers.get('retry-after')) > 0)
})
