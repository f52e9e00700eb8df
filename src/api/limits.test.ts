/** Limits of deployments and keys over the API: given, shown, changed, published, refused. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { keyringSince } from '../access/store.ts'
import { routeOf } from '../deployments/store.ts'
import { makeWorld, type World, wish } from './testing.ts'

let world: World
before(async () => {
  world = await makeWorld()
})
after(() => world.close())

const none = { rpm: null, tpm: null, concurrency: null }
const create = async (name: string, more: object = {}): Promise<string> => {
  const made = await world.call('POST', '/deployments', { body: { ...wish(name), ...more } })
  assert.equal(made.status, 201, made.text)
  return made.json.id
}
const makeKey = async (more: object = {}) =>
  (await world.call('POST', '/api-keys', { body: { name: 'k', ...more } })).json
const published = async (id: string) => (await routeOf(world.db, id))?.limits
const entryOf = async (id: string) => (await keyringSince(world.db, 0, 100_000)).find(({ keyId }) => keyId === id)

test('a deployment: none at first, given, changed in part, taken away; gateways get what is set', async () => {
  const id = await create('plain')
  assert.deepEqual((await world.call('GET', `/deployments/${id}`)).json.limits, none)
  assert.equal(await published(id), undefined)
  const path = `/deployments/${id}/limits`
  const set = await world.call('PATCH', path, { body: { rpm: 600, concurrency: 5 } })
  assert.deepEqual([set.status, set.json], [200, { rpm: 600, tpm: null, concurrency: 5 }])
  assert.deepEqual(await published(id), { rpm: 600, tpm: null, concurrency: 5 })
  const changed = await world.call('PATCH', path, { body: { rpm: null, tpm: 20_000 } })
  assert.deepEqual(changed.json, { rpm: null, tpm: 20_000, concurrency: 5 })
  assert.deepEqual((await world.call('GET', path)).json, changed.json)
  await world.call('PATCH', path, { body: { tpm: null, concurrency: null } })
  assert.equal(await published(id), undefined)
  assert.deepEqual((await world.call('GET', path)).json, none)
})

test('limits may be changed with the settings, in one request: all of it or nothing, and without a new revision', async () => {
  const id = await create('together')
  const path = `/deployments/${id}`
  const changed = await world.call('PATCH', path, {
    body: { limits: { rpm: 60, tpm: 9 }, sla: { concurrency_limit: 4 } },
  })
  assert.deepEqual([changed.status, changed.json.limits], [200, { rpm: 60, tpm: 9, concurrency: 4 }])
  assert.equal(changed.json.revision, 1)
  assert.deepEqual(await published(id), { rpm: 60, tpm: 9, concurrency: 4 })
  const withSpec = await world.call('PATCH', path, { body: { limits: { tpm: null }, engine: { max_num_seqs: 2 } } })
  assert.deepEqual([withSpec.json.limits, withSpec.json.revision], [{ rpm: 60, tpm: null, concurrency: 4 }, 2])
  assert.deepEqual(await published(id), { rpm: 60, tpm: null, concurrency: 4 })
  for (const [body, status, word] of [
    [{ limits: { rpm: 0 } }, 400, /limits\.rpm/],
    [{ limits: { rps: 1 } }, 400, /rps/],
    [{ limits: null }, 400, /limits/],
    [{ limits: { concurrency: 5 }, sla: { concurrency_limit: 6 } }, 400, /the same as limits\.concurrency/],
    [{ limits: { rpm: 7 }, model_id: 'no/such' }, 422, /no\/such/],
  ] as const) {
    const refused = await world.call('PATCH', path, { body })
    assert.equal(refused.status, status, refused.text)
    assert.match(refused.json.error.message, word)
  }
  assert.deepEqual(await published(id), { rpm: 60, tpm: null, concurrency: 4 })
  const { data } = (await world.call('GET', `${path}/events?type=deployment.limits_changed`)).json
  assert.deepEqual(
    data.map((event: { data: { changed: string[] } }) => event.data.changed).toSorted(),
    [['rpm', 'tpm', 'concurrency'], ['tpm']].toSorted(),
  )
})

test('a change is told once, and a change of nothing is not told', async () => {
  const id = await create('told')
  for (const body of [{ rpm: 60 }, { rpm: 60 }, {}]) await world.call('PATCH', `/deployments/${id}/limits`, { body })
  const { data } = (await world.call('GET', `/deployments/${id}/events?type=deployment.limits_changed`)).json
  assert.deepEqual(
    data.map((event: { data: { changed: string[] } }) => event.data.changed),
    [['rpm']],
  )
})

test('the concurrency limit is one and the same among the limits and in the SLA', async () => {
  const id = await create('promised', { sla: { concurrency_limit: 50 }, limits: { rpm: 100 } })
  assert.deepEqual(await published(id), { rpm: 100, tpm: null, concurrency: 50 })
  assert.deepEqual((await world.call('GET', `/deployments/${id}/sla`)).json, { concurrency_limit: 50 })
  const changed = await world.call('PATCH', `/deployments/${id}/sla`, { body: { concurrency_limit: 7 } })
  assert.deepEqual([changed.status, changed.json], [200, { concurrency_limit: 7 }])
  assert.deepEqual((await world.call('GET', `/deployments/${id}/limits`)).json, { rpm: 100, tpm: null, concurrency: 7 })
  assert.equal((await world.call('GET', `/deployments/${id}`)).json.revision, 1)
  const both = { ...wish('both'), limits: { concurrency: 5 }, sla: { concurrency_limit: 6 } }
  const refused = await world.call('POST', '/deployments', { body: both })
  assert.equal(refused.status, 400)
  assert.match(refused.json.error.message, /sla\.concurrency_limit.*the same as limits\.concurrency/)
})

test('a key: given, shown, changed, and the keyring has it', async () => {
  const key = await makeKey({ limits: { rpm: 60 }, priority: 2 })
  assert.deepEqual([key.limits, key.priority], [{ ...none, rpm: 60 }, 2])
  const path = `/api-keys/${key.id}`
  const body = { name: 'batch', limits: { rpm: null, concurrency: 3 }, priority: 0 }
  const changed = await world.call('PATCH', path, { body })
  assert.equal(changed.status, 200, changed.text)
  assert.equal(changed.json.secret, undefined)
  const shown = (await world.call('GET', path)).json
  assert.deepEqual([shown.name, shown.limits, shown.priority], ['batch', { ...none, concurrency: 3 }, 0])
  const entry = await entryOf(key.id)
  assert.deepEqual([entry?.limits, entry?.priority], [{ ...none, concurrency: 3 }, 0])
  await world.call('PATCH', path, { body: { limits: { concurrency: null } } })
  assert.equal((await entryOf(key.id))?.limits, null)
  const { version } = (await entryOf(key.id))!
  await world.call('PATCH', path, { body: { limits: { concurrency: null } } })
  assert.equal((await entryOf(key.id))?.version, version, 'what changes nothing is not published')
})

test('a repeated request with an Idempotency-Key changes a key once', async () => {
  const key = await makeKey()
  const headers = { 'idempotency-key': 'once' }
  const body = { limits: { rpm: 5 } }
  await world.call('PATCH', `/api-keys/${key.id}`, { body, headers })
  await world.call('PATCH', `/api-keys/${key.id}`, { body: { limits: { rpm: 9 } } })
  const again = await world.call('PATCH', `/api-keys/${key.id}`, { body, headers })
  assert.equal(again.json.limits.rpm, 9, 'the state now')
})

test('revoked keys are shown and not changed; the operator’s is not there', async () => {
  const key = await makeKey()
  await world.call('DELETE', `/api-keys/${key.id}`)
  assert.notEqual((await world.call('GET', `/api-keys/${key.id}`)).json.revoked_at, null)
  assert.equal((await world.call('PATCH', `/api-keys/${key.id}`, { body: { priority: 1 } })).status, 404)
  const operator = { key: world.keys.operator, body: { limits: { rpm: 1 } } }
  assert.equal((await world.call('PATCH', '/api-keys/key_operator', operator)).status, 404)
})

test('a deployment that is gone has no limits to change', async () => {
  const id = await create('gone')
  await world.call('DELETE', `/deployments/${id}`)
  assert.equal((await world.call('PATCH', `/deployments/${id}/limits`, { body: { rpm: 1 } })).status, 404)
})

const wrong: [string, unknown, RegExp][] = [
  ['zero', { rpm: 0 }, /rpm/],
  ['negative', { tpm: -5 }, /tpm/],
  ['a fraction', { concurrency: 1.5 }, /concurrency/],
  ['text', { rpm: '600' }, /rpm/],
  ['huge', { tpm: 1e18 }, /tpm/],
  ['unknown', { rps: 5 }, /rps/],
  ['a list', [], /body/],
  ['several', { rpm: 0, concurrency: 'x' }, /rpm[\s\S]*concurrency/],
]
for (const [what, body, said] of wrong)
  test(`refused with the field's name: ${what}`, async () => {
    const id = (await world.call('GET', '/deployments?limit=1')).json.data[0].id
    for (const answer of [
      await world.call('PATCH', `/deployments/${id}/limits`, { body }),
      await world.call('POST', '/api-keys', { body: { name: 'x', limits: body } }),
    ]) {
      assert.equal(answer.status, 400, answer.text)
      assert.match(answer.text, said.source === 'body' ? /body|limits|object/i : said)
    }
  })

test('a priority is a whole number from 0 to 4', async () => {
  for (const priority of [-1, 5, 1.5, '2', null]) {
    const answer = await world.call('POST', '/api-keys', { body: { name: 'x', priority } })
    assert.equal(answer.status, 400)
    assert.match(answer.json.error.message, /priority/)
  }
})
