/** The HTTP side while there is no engine yet: it listens, tells the phase, takes nothing. */
import { strict as assert } from 'node:assert'
import { after, test } from 'node:test'
import { systemClock } from '../../../runtime/clock.ts'
import { WorkerServer } from './server.ts'

let nowMs = 5_000
const clock = { ...systemClock, monotonicMs: () => nowMs }
const server = new WorkerServer({ servedName: 's', key: 'k', log: assert.fail, clock, ageMs: 80 })
const url = `http://127.0.0.1:${await server.listen('127.0.0.1', 0)}`
after(() => server.close())

const headers = { authorization: 'Bearer k' }
const health = async () => {
  const response = await fetch(`${url}/health`)
  return [response.status, await response.json()]
}
const ask = () => fetch(`${url}/v1/completions`, { method: 'POST', headers, body: '{"prompt":"x"}' })

test('health needs no key and tells the phase, and since when; requests are told to come again', async () => {
  const loading = { status: 'loading', phase: 'load', progress: 0 }
  assert.deepEqual(await health(), [503, { ...loading, phases_ms_ago: { load: 80 } }])
  nowMs += 400
  server.state = { status: 'loading', phase: 'warmup', progress: 1 }
  nowMs += 20
  const warming = { status: 'loading', phase: 'warmup', progress: 1 }
  assert.deepEqual(await health(), [503, { ...warming, phases_ms_ago: { load: 500, warmup: 20 } }])
  const response = await ask()
  assert.deepEqual([response.status, response.headers.get('retry-after')], [503, '1'])
  assert.equal(((await response.json()) as { error: { code: string } }).error.code, 'starting')
})

test('ready: since when, however often it says so', async () => {
  server.state = { status: 'ok' }
  nowMs += 1_000
  server.state = { status: 'ok' }
  assert.deepEqual(await health(), [200, { status: 'ok', phases_ms_ago: { load: 1_500, warmup: 1_020, ready: 1_000 } }])
})

test('draining: nobody is waited for, nobody is taken', async () => {
  await server.drain()
  assert.equal((await health())[0], 503)
  assert.equal((await ask()).status, 503)
})

test('every route but health needs the key, routes that do not exist too', async () => {
  for (const path of ['/v1/models', '/metrics', '/v1/chat/completions', '/slots', '/'])
    for (const authorization of ['', 'Bearer', 'Bearer wrong', 'k'])
      assert.equal((await fetch(url + path, { headers: { authorization } })).status, 401, `${path} ${authorization}`)
  assert.equal((await fetch(`${url}/slots`, { headers })).status, 404)
  assert.equal((await fetch(`${url}/v1/completions`, { headers })).status, 405)
})
