import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { Failure } from './failure.ts'
import { apiKey, serverUrl } from './target.ts'

const folder = mkdtempSync(join(tmpdir(), 'paddock-target-'))
writeFileSync(join(folder, 'operator-key'), 'sk_operator\n')
after(() => rmSync(folder, { recursive: true, force: true }))

const failsWith = (status: number) => (error: unknown) => error instanceof Failure && error.status === status

test('the address: flag, then environment, then this machine', () => {
  assert.equal(serverUrl({}, {}), 'http://127.0.0.1:8080')
  assert.equal(serverUrl({}, { PADDOCK_URL: 'https://gpu.example/' }), 'https://gpu.example')
  assert.equal(serverUrl({ port: '9000' }, { PADDOCK_URL: 'https://gpu.example' }), 'http://127.0.0.1:9000')
  assert.equal(serverUrl({}, { PADDOCK_PORT: '9001' }), 'http://127.0.0.1:9001')
  assert.equal(serverUrl({ url: 'gpu.example:8080' }, {}), 'http://gpu.example:8080')
  assert.equal(serverUrl({ url: 'http://[::1]:8080/base/' }, {}), 'http://[::1]:8080/base')
  for (const wrong of [
    { url: 'ftp://x' },
    { url: 'http://' },
    { port: '0' },
    { port: '1e3' },
    { url: 'http://x', port: '1' },
  ])
    assert.throws(() => serverUrl(wrong, {}), failsWith(2))
})

test('the key: flag, then environment, then the data folder; a folder that is named wins over the environment', () => {
  const env = { PADDOCK_API_KEY: 'sk_env', PADDOCK_DATA: folder }
  assert.equal(apiKey({ key: 'sk_flag', data: folder }, env), 'sk_flag')
  assert.equal(apiKey({}, env), 'sk_env')
  assert.equal(apiKey({ data: folder }, env), 'sk_operator')
  assert.equal(apiKey({}, { PADDOCK_DATA: folder }), 'sk_operator')
  assert.throws(() => apiKey({ data: join(folder, 'none') }, env), failsWith(5))
  assert.throws(() => apiKey({ data: join(folder, 'operator-key') }, {}), failsWith(5))
})

test('a key that no header can carry is refused without being shown', () => {
  for (const key of ['', 'sk_ä', 'sk a', 'sk\nb'])
    assert.throws(
      () => apiKey({ key }, {}),
      (error: unknown) => failsWith(2)(error) && (key === '' || !(error as Error).message.includes(key)),
    )
})
