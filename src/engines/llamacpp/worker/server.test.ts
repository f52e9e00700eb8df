/** The HTTP side while there is no engine yet: it listens, tells the phase, takes nothing. */
import { strict as assert } from 'node:assert'
import { after, test } from 'node:test'
import { WorkerServer } from './server.ts'

const server = new WorkerServer({ servedName: 's', key: 'k', log: assert.fail })
const url = `http://127.0.0.1:${await server.listen('127.0.0.1', 0)}`
after(() => server.close())

const headers = { authorization: 'Bearer k' }
const health = async () => {
  const response = await fetch(`${url}/health`)
  return [response.status, await response.json()]
}
const ask = () => fetch(`${url}/v1/completions`, { method: 'POST', headers, body: '{"prompt":"x"}' })

test('health needs no key and tells the phase; requests are told to come again', async () => {
  assert.deepEqual(await health(), [503, { status: 'loading', phase: 'load', progress: 0 }])
  server.state = { status: 'loading', phase: 'warmup', progress: 1 }
  assert.deepEqual(await health(), [503, { status: 'loading', phase: 'warmup', progress: 1 }])
  const response = await ask()
  assert.deepEqual([response.status, response.headers.get('retry-after')], [503, '1'])
  assert.equal(((await response.json()) as { error: { code: string } }).error.code, 'starting')
})

test('draining while it loads: nobody is waited for, nobody is taken', async () => {
  await server.drain()
  assert.deepEqual(await health(), [503, { status: 'draining' }])
  assert.equal((await ask()).status, 503)
})

test('every route but health needs the key, routes that do not exist too', async () => {
  for (const path of ['/v1/models', '/metrics', '/v1/chat/completions', '/slots', '/'])
    for (const authorization of ['', 'Bearer', 'Bearer wrong', 'k'])
      assert.equal((await fetch(url + path, { headers: { authorization } })).status, 401, `${path} ${authorization}`)
  assert.equal((await fetch(`${url}/slots`, { headers })).status, 404)
  assert.equal((await fetch(`${url}/v1/completions`, { headers })).status, 405)
})
