import { strict as assert } from 'node:assert'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { ConfigError, environmentName, readConfig } from './config.ts'
import { type SettingName, settings } from './settings.ts'

const folder = mkdtempSync(join(tmpdir(), 'paddock-config-'))
after(() => rmSync(folder, { recursive: true }))

function file(text: string): string {
  const path = join(folder, `${text.length}.yaml`)
  writeFileSync(path, text)
  return path
}

function problems(input: Parameters<typeof readConfig>[0]): string[] {
  try {
    readConfig(input)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

test('every default satisfies its own schema', () => {
  for (const name of Object.keys(settings) as SettingName[])
    assert.ok(settings[name].schema.safeParse(settings[name].default).success, name)
})

test('flags win over environment, environment over file, file over defaults', () => {
  const path = file('port: 1111\nhold:\n  max_seconds: 7\ngateway.max_body_bytes: 4096\n')
  const env = { PADDOCK_PORT: '2222', PADDOCK_HOLD_MAX_REQUESTS: '9' }
  const config = readConfig({ flags: { port: 3333 }, env, file: path })
  assert.equal(config.port, 3333)
  assert.equal(readConfig({ flags: {}, env, file: path }).port, 2222)
  assert.equal(readConfig({ flags: {}, env: {}, file: path }).port, 1111)
  assert.equal(config['hold.max_seconds'], 7)
  assert.equal(config['hold.max_requests'], 9)
  assert.equal(config['gateway.max_body_bytes'], 4096)
  assert.equal(config.host, '127.0.0.1')
})

test('all problems are told at once, each with its place, what was seen and what it is', () => {
  const path = file('port: banana\nhots: 1\nhold: {max_secnds: 3}\n')
  const found = problems({ flags: {}, env: { PADDOCK_FLEET: 'moon', PADDOCK_SECRET_KEY: '' }, file: path })
  assert.equal(found.length, 4)
  assert.match(found.join('\n'), /there is no setting "hots"/)
  assert.match(found.join('\n'), /there is no setting "hold\.max_secnds"/)
  assert.match(found.join('\n'), /port.*seen: "banana"/)
  assert.match(found.join('\n'), /PADDOCK_FLEET.*seen: "moon"/)
})

test('a damaged or missing file is one problem', () => {
  assert.match(problems({ flags: {}, env: {}, file: file('a: [1') })[0]!, /cannot be read as YAML or JSON/)
  assert.match(problems({ flags: {}, env: {}, file: join(folder, 'none.yaml') })[0]!, /cannot be read/)
  assert.match(problems({ flags: {}, env: {}, file: file('- 1\n- 2\n') })[0]!, /must hold settings/)
  assert.deepEqual(problems({ flags: {}, env: {}, file: file('') }), [])
})

test('every setting has its variable, and no two share one', () => {
  const names = (Object.keys(settings) as SettingName[]).map(environmentName)
  assert.equal(new Set(names).size, names.length)
  assert.ok(names.includes('PADDOCK_GATEWAY_MAX_BODY_BYTES'))
})

test('lists come from commas, flags from words, DATABASE_URL counts without our prefix', () => {
  const env = { PADDOCK_MODELS_ALLOW_PATHS: '/a, /b', PADDOCK_KEEP_ENGINES: 'true', DATABASE_URL: 'postgres://x' }
  const config = readConfig({ flags: {}, env, file: undefined })
  assert.deepEqual(config['models.allow_paths'], ['/a', '/b'])
  assert.equal(config.keep_engines, true)
  assert.equal(config.database_url, 'postgres://x')
})

test('lists and maps come from the environment as JSON too, prices also as numbers', () => {
  const env = { PADDOCK_MODELS_ALLOW_PATHS: '["/a"]', PADDOCK_COMPUTE_PRICES: '{"h200": "5.5", "rtx4090": 0.69}' }
  const config = readConfig({ flags: {}, env, file: undefined })
  assert.deepEqual(config['models.allow_paths'], ['/a'])
  assert.deepEqual(config['compute.prices'], { h200: '5.5', rtx4090: '0.69' })
  for (const wrong of ['h200=5', '{"h200": -5}', '{"h200": "much"}', '{', '[1]'])
    assert.match(problems({ flags: {}, env: { PADDOCK_COMPUTE_PRICES: wrong }, file: undefined })[0]!, /prices in USD/)
  const none = readConfig({ flags: {}, env: { HF_ENDPOINT: 'none' }, file: undefined })
  assert.equal(none['hub.endpoint'], '', 'there is no Hub')
})
