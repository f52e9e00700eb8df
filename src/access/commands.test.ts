import { strict as assert } from 'node:assert'
import { after, test } from 'node:test'
import { Fault } from '../kernel/fault.ts'
import { Secret } from '../kernel/secret.ts'
import { systemClock } from '../runtime/clock.ts'
import { Seal } from '../runtime/seal.ts'
import { testDatabase } from '../store/testing.ts'
import { Access } from './commands.ts'
import { isDrained, propagated, registered, report, unregister, unregisterFormer } from './gateways.ts'
import { keyringSince } from './store.ts'

const db = await testDatabase()
after(() => db.close())
const access = new Access(db, new Seal(new Secret('a secret of the test')), systemClock)
await access.ensureOperator('sk_operator_of_the_test')
const operator = await access.authenticate('Bearer sk_operator_of_the_test', undefined)

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    if (error instanceof Fault) return error.code
    throw error
  }
  return 'no fault'
}

const once = (key: string, requestHash = 'h') => ({ key, route: 'POST /api-keys', requestHash })

test('a key works from its creation to its revocation; its secret is stored nowhere', async () => {
  const { key, secret, propagated: known } = await access.createKey(operator, { name: 'one' }, null)
  assert.equal(known, true)
  assert.match(secret, /^sk_[\w-]{43}$/)
  assert.equal(key.hint, secret.slice(-4))
  assert.equal((await access.authenticate(`Bearer ${secret}`, undefined)).keyId, key.id)
  const rows = await db.query<{ text: string }>(
    "select k::text || coalesce((select string_agg(e::text, '') from events e), '') as text from api_keys k",
  )
  assert.ok(!rows.some((row) => row.text.includes(secret)))
  const listed = (await access.listKeys(operator, { limit: 50 })).items.find((item) => item.id === key.id)
  assert.ok(listed?.lastUsedAt, 'it was used just now')
  await access.revokeKey(operator, key.id)
  assert.equal(await codeOf(access.authenticate(`Bearer ${secret}`, undefined)), 'invalid_key')
  await access.revokeKey(operator, key.id)
  assert.ok(!(await access.listKeys(operator, { limit: 50 })).items.some((item) => item.id === key.id))
})

test('keys of another org are not there, and the operator key cannot be revoked', async () => {
  const org = await access.createOrg(operator, { name: 'acme' }, null)
  const inOrg = await access.authenticate('Bearer sk_operator_of_the_test', org.id)
  const { key } = await access.createKey(inOrg, { name: 'theirs' }, null)
  assert.equal(await codeOf(access.revokeKey(operator, key.id)), 'not_found')
  assert.equal(await codeOf(access.revokeKey(operator, 'key_operator')), 'not_found')
  assert.equal(await codeOf(access.authenticate('Bearer sk_operator_of_the_test', 'org_none')), 'not_found')
  assert.equal(await codeOf(access.createOrg(operator, { name: 'acme' }, null)), 'name_taken')
})

test('a developer neither makes keys nor orgs; an admin makes no operator', async () => {
  const { secret } = await access.createKey(operator, { name: 'dev', role: 'developer' }, null)
  const developer = await access.authenticate(`Bearer ${secret}`, undefined)
  assert.equal(await codeOf(access.createKey(developer, { name: 'x' }, null)), 'forbidden')
  assert.equal(await codeOf(access.createOrg(developer, { name: 'x' }, null)), 'forbidden')
  assert.equal((await access.listOrgs(developer)).length, 1)
})

test('an Idempotency-Key makes one thing, also from twenty requests at once; another body is a conflict', async () => {
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => access.createKey(operator, { name: 'same' }, once('k1'))),
  )
  assert.equal(new Set(answers.map((a) => a.secret)).size, 1)
  assert.equal(new Set(answers.map((a) => a.key.id)).size, 1)
  assert.equal(await codeOf(access.createKey(operator, { name: 'other' }, once('k1', 'h2'))), 'idempotency_conflict')
  assert.equal(
    await codeOf(access.createKey(operator, { name: 'old', expiresAt: new Date(0) }, once('k2'))),
    'invalid_request',
  )
})

test('another operator secret replaces the old one, also for gateways', async () => {
  await access.ensureOperator('sk_operator_changed_now')
  assert.equal(await codeOf(access.authenticate('Bearer sk_operator_of_the_test', undefined)), 'invalid_key')
  const entries = (await keyringSince(db, 0)).filter((entry) => entry.operator)
  assert.equal(entries.length, 1)
})

test('an answer waits for the gateways that live; the drain waits for all that are registered', async () => {
  const now = Date.now()
  const gateway = { id: 'gw_a', keyringVersion: 1, routesVersion: 7, inFlight: { rep_1: 2 }, demand: {} }
  await report(db, gateway, now)
  assert.equal(await propagated(db, systemClock, 'keyring', 2, 50), false)
  await report(db, { ...gateway, keyringVersion: 2 }, Date.now())
  assert.equal(await propagated(db, systemClock, 'keyring', 2, 50), true)
  const rows = await registered(db)
  assert.equal(isDrained(rows, 'rep_1', 7, now), false, 'in flight')
  assert.equal(isDrained(rows, 'rep_2', 7, now), true)
  assert.equal(isDrained(rows, 'rep_2', 8, now), false, 'not acknowledged')
  assert.equal(isDrained(rows, 'rep_2', 7, now + 60_000), false, 'silent')
  await unregister(db, 'gw_a', now - 1)
  assert.equal((await registered(db)).length, 1, 'a successor that has reported since stays')
  await unregister(db, 'gw_a', Date.now())
  assert.equal(isDrained(await registered(db), 'rep_1', 9, now), true)
})

test('workers that there are no more of leave the register when they have long been silent, and nobody else does', async () => {
  const now = Date.now()
  const say = (id: string, at: number) =>
    report(db, { id, keyringVersion: 1, routesVersion: 1, inFlight: {}, demand: {} }, at)
  const old = now - 60_000
  for (const id of ['gw_c', 'gw_c_1', 'gw_c_2', 'gw_c_11', 'gw_c1_7', 'gw_c_2_9', 'gw_c_x', 'gw_d_7'])
    await say(id, old)
  await say('gw_c_3', now)
  await unregisterFormer(db, 'gw_c', 2, now - 10_000)
  const left = await db.query<{ id: string }>(`select id from gateways where id like 'gw\\_%' order by id collate "C"`)
  assert.deepEqual(
    left.map(({ id }) => id),
    ['gw_c', 'gw_c1_7', 'gw_c_1', 'gw_c_2_9', 'gw_c_3', 'gw_c_x', 'gw_d_7'],
  )
  await db.run('delete from gateways')
})
