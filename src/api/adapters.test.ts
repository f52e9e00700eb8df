/** LoRA adapters over the API: added, listed, removed, refused; and what other organisations see of it. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { routeOf } from '../deployments/store.ts'
import { writeTestAdapter } from '../engines/llamacpp/worker/testing-adapter.ts'
import { availableEngines, engineDrivers } from '../engines/registry.ts'
import { writePeft } from '../models/adapters/testing.ts'
import { makeWorld, type World, wish } from './testing.ts'

const folder = mkdtempSync(join(realpathSync(tmpdir()), 'paddock-api-adapters-'))
const file = (name: string, over: object = {}) => writeTestAdapter(join(folder, name), { seed: 5, ...over })
let world: World
before(async () => {
  // The programs of some are not here; what is asked of the API is the same.
  const engines = new Map([...availableEngines(), ...engineDrivers.map((driver) => [driver.type, driver] as const)])
  world = await makeWorld({}, { modelPaths: [folder], engines })
})
after(async () => {
  await world.close()
  rmSync(folder, { recursive: true })
})

const create = async (name: string, more: object = {}): Promise<string> => {
  const made = await world.call('POST', '/deployments', { body: { ...wish(name), ...more } })
  assert.equal(made.status, 201, made.text)
  return made.json.id
}
const add = (id: string, body: object, more: object = {}) =>
  world.call('POST', `/deployments/${id}/adapters`, { body, ...more })
const list = async (id: string) => (await world.call('GET', `/deployments/${id}/adapters`)).json.data

test('added, listed, known to the gateways, removed; told as events; no new revision', async () => {
  const id = await create('first')
  const source = file('my pirate.v2.gguf', { base: 'https://huggingface.co/paddock/starter' })
  const added = await add(id, { source })
  assert.equal(added.status, 201, added.text)
  const { id: adapterId, name, model, state, replicas, base_model: base, size_bytes: size } = added.json
  assert.match(adapterId, /^ada_/)
  assert.deepEqual([name, model, state, replicas], ['my-pirate-v2', 'first:my-pirate-v2', 'pending', []])
  assert.equal(base, 'https://huggingface.co/paddock/starter')
  assert.ok(size > 1_000)
  assert.deepEqual(await list(id), [added.json])
  assert.deepEqual((await routeOf(world.db, id))?.adapters, { 'my-pirate-v2': { failed: null } })
  assert.equal((await world.call('GET', `/deployments/${id}`)).json.revision, 1)
  const removed = await world.call('DELETE', `/deployments/${id}/adapters/${name}`)
  assert.deepEqual([removed.status, removed.json.id], [200, adapterId])
  assert.deepEqual(await list(id), [])
  assert.equal((await routeOf(world.db, id))?.adapters, undefined)
  assert.equal((await world.call('DELETE', `/deployments/${id}/adapters/${name}`)).status, 404)
  const events = (await world.call('GET', `/deployments/${id}/events`)).json.data.map((e: { type: string }) => e.type)
  assert.deepEqual(events.slice(0, 2), ['adapter.removed', 'adapter.added'])
})

const none = { rpm: null, tpm: null, concurrency: null }

test('limits: with an add or a create, changed in part, taken away; gateways get what is set; no revision', async () => {
  const source = file('limited.gguf')
  const adapters = [{ source, name: 'born', limits: { concurrency: 3 } }]
  const id = await create('bounded', { adapters })
  const told = async () => (await routeOf(world.db, id))?.adapters
  const change = (body: object, name = 'pirate') => world.call('PATCH', `/deployments/${id}/adapters/${name}`, { body })
  const added = await add(id, { source, name: 'pirate', limits: { rpm: 60, tpm: null } })
  assert.deepEqual([added.status, added.json.limits], [201, { ...none, rpm: 60 }], added.text)
  const born = { failed: null, limits: { ...none, concurrency: 3 } }
  assert.deepEqual(await told(), { born, pirate: { failed: null, limits: { ...none, rpm: 60 } } })
  const changed = await change({ limits: { rpm: null, tpm: 9_000 } })
  assert.deepEqual([changed.status, changed.json.limits], [200, { ...none, tpm: 9_000 }])
  assert.deepEqual((await told())!.pirate!.limits, { ...none, tpm: 9_000 })
  assert.deepEqual((await change({ limits: { tpm: null } }, added.json.id)).json.limits, none)
  assert.deepEqual(await told(), { born, pirate: { failed: null } })
  for (const body of [{}, { limits: {} }, { limits: { tpm: null } }]) assert.equal((await change(body)).status, 200)
  const headers = { 'idempotency-key': 'limits' }
  const path = `/deployments/${id}/adapters/born`
  for (const rpm of [5, 5]) await world.call('PATCH', path, { body: { limits: { rpm } }, headers })
  assert.deepEqual(
    (await list(id)).map(({ limits }: { limits: object }) => limits),
    [{ ...none, rpm: 5, concurrency: 3 }, none],
  )
  assert.equal((await world.call('GET', `/deployments/${id}`)).json.revision, 1)
  const { data } = (await world.call('GET', `/deployments/${id}/events?type=adapter.limits_changed`)).json
  assert.deepEqual(
    data.map((event: { data: { adapter: string; changed: string[] } }) => [event.data.adapter, event.data.changed]),
    [
      ['born', ['rpm']],
      ['pirate', ['tpm']],
      ['pirate', ['rpm', 'tpm']],
    ],
  )
  for (const [body, said] of [
    [{ limits: { rpm: 0 } }, /limits\.rpm/],
    [{ limits: { tpm: -1 } }, /limits\.tpm/],
    [{ limits: { concurrency: 1.5 } }, /limits\.concurrency/],
    [{ limits: { rpm: '60' } }, /limits\.rpm/],
    [{ limits: { tpm: 1e18 } }, /limits\.tpm/],
    [{ limits: { rps: 1 } }, /rps/],
    [{ limits: null }, /limits/],
    [{ rpm: 5 }, /rpm/],
    [{ source }, /source/],
  ] as const) {
    const refused = await change(body)
    assert.equal(refused.status, 400, refused.text)
    assert.match(refused.json.error.message, said)
  }
  const wrong = await add(id, { source, name: 'wrong', limits: { rpm: 0 } })
  assert.deepEqual([wrong.status, /limits\.rpm/.test(wrong.json.error.message)], [400, true])
  for (const name of ['none', 'toString', '%00', 'x'.repeat(300)])
    assert.equal((await change({ limits: { rpm: 1 } }, name)).status, 404, name)
  const unknown = await change({ limits: { rpm: 1 } }, 'none')
  assert.match(unknown.json.error.message, /has no adapter "none"/)
  assert.match(unknown.text, /It has born, pirate\./)
  assert.equal((await world.call('DELETE', path)).status, 200)
  assert.equal((await change({ limits: { rpm: 1 } }, 'born')).status, 404)
  const again = await add(id, { source, name: 'born' })
  assert.deepEqual(again.json.limits, none, 'another one begins without')
})

test('an Idempotency-Key adds once; a name is given once; it may be given again once it is free', async () => {
  const id = await create('once')
  const source = file('once.gguf')
  const headers = { 'idempotency-key': 'k1' }
  const first = await add(id, { source }, { headers })
  assert.deepEqual((await add(id, { source }, { headers })).json, first.json)
  const twice = await add(id, { source })
  assert.deepEqual([twice.status, twice.json.error.code], [409, 'name_taken'])
  const both = await Promise.all([add(id, { source, name: 'x' }), add(id, { source, name: 'x' })])
  assert.deepEqual(both.map(({ status }) => status).sort(), [201, 409])
  await world.call('DELETE', `/deployments/${id}/adapters/${first.json.id}`)
  assert.notEqual((await add(id, { source })).json.id, first.json.id)
})

test('one of another model: the sentence, and why', async () => {
  const id = await create('picky')
  const refused = await add(id, { source: file('wrong.gguf', { inputs: 32 }) })
  assert.equal(refused.status, 422)
  assert.equal(refused.json.error.code, 'adapter_mismatch')
  assert.equal(refused.json.error.message, 'LoRA adapter does not match base model')
  assert.match(refused.json.error.detail.reason, /from 32 to \d+ channels/)
  const other = file('other.gguf', { base: 'acme/other' })
  assert.match((await add(id, { source: other })).json.error.detail.reason, /"acme\/other"/)
  assert.equal((await add(id, { source: other, force: true })).status, 201)
})

test('what is no adapter here is refused, with what to do', async () => {
  const id = await create('strict')
  const peft = writePeft(join(folder, 'peft'))
  const converted = await add(id, { source: peft })
  assert.deepEqual([converted.status, converted.json.error.code], [400, 'adapter_unsuitable'])
  assert.match(converted.json.error.action, /convert_lora_to_gguf\.py/)
  const good = file('good.gguf')
  mkdirSync(join(folder, 'empty'))
  for (const [body, status, code] of [
    [{ source: join(folder, 'none.gguf') }, 400, 'model_path_not_allowed'],
    [{ source: '/etc/passwd' }, 400, 'model_path_not_allowed'],
    [{ source: `${folder}/../x` }, 400, 'model_path_not_allowed'],
    [{ source: '' }, 400, 'invalid_request'],
    [{ source: 'good.gguf' }, 400, 'invalid_request'],
    [{ source: './good.gguf' }, 400, 'invalid_request'],
    [{ source: 'file:good.gguf' }, 400, 'invalid_request'],
    [{}, 400, 'invalid_request'],
    [{ source: good, name: '' }, 400, 'invalid_request'],
    [{ source: good, name: 'a:b' }, 400, 'invalid_request'],
    [{ source: good, name: 'ä' }, 400, 'invalid_request'],
    [{ source: good, name: 'x'.repeat(64) }, 400, 'invalid_request'],
    [{ source: good, nmae: 'x' }, 400, 'unknown_field'],
    [{ source: folder }, 400, 'model_path_not_allowed'],
    [{ source: join(folder, 'empty') }, 422, 'adapter_unreadable'],
  ] as const) {
    const refused = await add(id, body)
    assert.deepEqual([refused.status, refused.json.error.code], [status, code], JSON.stringify(body))
  }
  assert.deepEqual(await list(id), [])
})

test('so many and no more', async () => {
  const id = await create('many')
  const source = file('many.gguf')
  for (const name of ['a', 'b', 'c']) assert.equal((await add(id, { source, name })).status, 201)
  const full = await add(id, { source, name: 'd' })
  assert.deepEqual([full.status, full.json.error.code], [400, 'engine_unsupported'])
  assert.match(full.json.error.message, /3 adapters at once/)
})

test('an engine that is told at its start: a new revision for every change', async () => {
  const id = await create('rolled', { engine: { type: 'llama-server' } })
  const source = file('rolled.gguf')
  const first = await add(id, { source, allow_downtime: true })
  assert.equal(first.status, 201, first.text)
  const revision = async () => (await world.call('GET', `/deployments/${id}`)).json.revision
  assert.equal(await revision(), 2)
  assert.equal((await add(id, { source, name: 'second', allow_downtime: true })).status, 201)
  assert.equal(await revision(), 3)
  assert.equal((await world.call('DELETE', `/deployments/${id}/adapters/second?allow_downtime=true`)).status, 200)
  assert.equal(await revision(), 4)
})

test('another organisation sees nothing; a name of its own deployment means its own', async () => {
  const id = await create('masked')
  const source = file('masked.gguf')
  const made = (await add(id, { source })).json
  const key = world.keys.ownerB
  assert.equal((await add(id, { source }, { key })).status, 404)
  assert.equal((await world.call('GET', `/deployments/${id}/adapters`, { key })).status, 404)
  assert.equal((await world.call('DELETE', `/deployments/${id}/adapters/${made.id}`, { key })).status, 404)
  const limits = { limits: { rpm: 1 } }
  for (const called of [made.id, made.name]) {
    const theirs = await world.call('PATCH', `/deployments/${id}/adapters/${called}`, { key, body: limits })
    assert.equal(theirs.status, 404)
    const viewer = { key: world.keys.viewerA, body: limits }
    assert.equal((await world.call('PATCH', `/deployments/${id}/adapters/${called}`, viewer)).status, 403)
  }
  assert.deepEqual(await list(id), [made])
})
