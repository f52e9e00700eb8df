import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { can, mayHandOut, type Principal, type Right, type Role, rights, roles } from './permissions.ts'

function principal(role: Role, over: Partial<Principal> = {}): Principal {
  return { keyId: 'key_1', orgId: 'org_a', role, grants: {}, operator: false, ...over }
}

test('who may invoke: owner, admin, developer; not billing, viewer, scoped', () => {
  const may = roles.filter((role) => can(principal(role), 'deployment:invoke', 'dep_1'))
  assert.deepEqual(may, ['owner', 'admin', 'developer'])
})

test('a grant adds rights on its one deployment and nowhere else', () => {
  const holder = principal('scoped', { grants: { dep_1: 'inference', dep_2: 'viewer', dep_3: 'admin' } })
  const table: [Right, string, boolean][] = [
    ['deployment:invoke', 'dep_1', true],
    ['deployment:write', 'dep_1', false],
    ['deployment:invoke', 'dep_2', false],
    ['deployment:read', 'dep_2', true],
    ['deployment:write', 'dep_3', true],
    ['deployment:read', 'dep_4', false],
  ]
  for (const [right, deployment, expected] of table)
    assert.equal(can(holder, right, deployment), expected, `${right} ${deployment}`)
  assert.equal(can(holder, 'deployment:read'), false)
})

test('the operator holds every right', () => {
  for (const right of rights) assert.equal(can(principal('scoped', { operator: true }), right), true)
})

test('nobody hands out more than they hold', () => {
  const handsOut = (role: Role) => roles.filter((other) => mayHandOut(principal(role), other))
  assert.deepEqual(handsOut('owner'), [...roles])
  assert.deepEqual(handsOut('developer'), ['developer', 'billing', 'viewer', 'scoped'])
  assert.deepEqual(handsOut('viewer'), ['viewer', 'scoped'])
})
