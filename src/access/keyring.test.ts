import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { Fault } from '../kernel/fault.ts'
import { bearer, defaultOrgId, hashKey, Keyring, type KeyringEntry } from './keyring.ts'

const now = 1_800_000_000_000

function entry(over: Partial<KeyringEntry> = {}): KeyringEntry {
  return {
    keyId: 'key_1',
    hash: hashKey('sk_one'),
    orgId: 'org_a',
    role: 'developer',
    grants: {},
    operator: false,
    expiresAt: null,
    removed: false,
    version: 1,
    ...over,
  }
}

function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (error instanceof Fault) return error.code
    throw error
  }
  return 'no fault'
}

test('a known key gives its principal', () => {
  const keyring = new Keyring()
  keyring.apply([entry({ grants: { dep_1: 'inference' } })])
  assert.deepEqual(keyring.authenticate('Bearer sk_one', now), {
    keyId: 'key_1',
    orgId: 'org_a',
    role: 'developer',
    grants: { dep_1: 'inference' },
    operator: false,
    limits: null,
    priority: 0,
  })
})

test('missing, malformed, unknown, revoked and expired keys are refused, each by its code', () => {
  const keyring = new Keyring()
  keyring.apply([
    entry(),
    entry({ keyId: 'key_2', hash: hashKey('sk_two'), removed: true, version: 2 }),
    entry({ keyId: 'key_3', hash: hashKey('sk_three'), expiresAt: now, version: 3 }),
  ])
  for (const header of [undefined, '', '   ', 'Basic abc', 'Bearer', 'Bearer a b', `Bearer ${'x'.repeat(513)}`])
    assert.equal(
      codeOf(() => keyring.authenticate(header, now)),
      'missing_key',
      String(header),
    )
  for (const secret of ['sk_other', 'sk_two', 'sk_three', 'SK_ONE'])
    assert.equal(
      codeOf(() => keyring.authenticate(`Bearer ${secret}`, now)),
      'invalid_key',
      secret,
    )
  assert.equal(keyring.authenticate('Bearer sk_three', now - 1).keyId, 'key_3')
})

test('deltas may come in any order and twice: an older version never wins', () => {
  const keyring = new Keyring()
  keyring.apply([entry({ removed: true, version: 5 })])
  keyring.apply([entry({ version: 4 })])
  assert.equal(
    codeOf(() => keyring.authenticate('Bearer sk_one', now)),
    'invalid_key',
  )
  assert.equal(keyring.version, 5)
})

test('a key whose secret changed answers to the new one only', () => {
  const keyring = new Keyring()
  keyring.apply([entry()])
  keyring.apply([entry({ hash: hashKey('sk_new'), version: 2 })])
  assert.equal(
    codeOf(() => keyring.authenticate('Bearer sk_one', now)),
    'invalid_key',
  )
  assert.equal(keyring.authenticate('Bearer sk_new', now).keyId, 'key_1')
})

test('only the operator may act in another org', () => {
  const keyring = new Keyring()
  keyring.apply([
    entry(),
    entry({ keyId: 'key_operator', hash: hashKey('sk_op'), orgId: defaultOrgId, operator: true, version: 2 }),
  ])
  assert.equal(keyring.authenticate('Bearer sk_one', now, 'org_b').orgId, 'org_a')
  assert.equal(keyring.authenticate('Bearer sk_op', now, 'org_b').orgId, 'org_b')
  assert.equal(keyring.authenticate('Bearer sk_op', now).orgId, defaultOrgId)
})

test('the scheme is read in any case', () => {
  assert.equal(bearer('bearer  sk_x'), 'sk_x')
})
