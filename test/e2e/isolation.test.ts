/** Two organisations on one server see nothing of each other; a revoked key is refused at once, everywhere. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import OpenAI from 'openai'
import { ApiError, type NativeClient } from '../../src/wire/native/client.ts'
import { type Server, startServer } from './harness.ts'
import { Place } from './place.ts'
import { errorOf, nativePath, send } from './raw.ts'

const chat = { messages: [{ role: 'user' as const, content: 'Hello' }], max_tokens: 2 }
const notFound = (error: unknown) => error instanceof ApiError && error.status === 404

interface Tenant {
  orgId: string
  secret: string
  native: NativeClient
  openai: OpenAI
  deploymentId: string
}

describe('organisations', () => {
  const place = new Place()
  let server: Server
  let acme: Tenant
  let birch: Tenant

  before(async () => {
    server = await startServer(place)
    ;[acme, birch] = (await Promise.all(['acme', 'birch'].map((name) => makeTenant(server, name)))) as [Tenant, Tenant]
  })
  after(async () => {
    try {
      await server?.stop()
    } finally {
      await place.remove()
    }
  })

  it('may have deployments of the same name, each its own', async () => {
    assert.notEqual(acme.deploymentId, birch.deploymentId)
    for (const tenant of [acme, birch]) {
      const { data } = await tenant.native.listDeployments()
      assert.deepEqual(
        data.map(({ id, org_id }) => [id, org_id]),
        [[tenant.deploymentId, tenant.orgId]],
      )
      const answer = await tenant.openai.chat.completions.create({ model: 'mine', ...chat })
      assert.equal(answer.choices.length, 1)
      assert.deepEqual(
        (await tenant.openai.models.list()).data.map(({ id }) => id),
        ['mine'],
      )
    }
  })

  it('are 404 to each other on every route that names a deployment', async () => {
    for (const [one, other] of [
      [acme, birch],
      [birch, acme],
    ] as const) {
      const { native, openai } = one
      const theirs = other.deploymentId
      await assert.rejects(native.getDeployment(theirs), notFound)
      await assert.rejects(native.deleteDeployment(theirs), notFound)
      await assert.rejects(native.explainDeployment(theirs), notFound)
      await assert.rejects(native.listReplicas(theirs), notFound)
      await assert.rejects(native.listEvents(theirs), notFound)
      await assert.rejects(native.readLogs(theirs), notFound)
      await assert.rejects(native.chatCompletions(theirs, chat), notFound)
      await assert.rejects(openai.chat.completions.create({ model: theirs, ...chat }), OpenAI.NotFoundError)
      await assert.rejects(openai.models.retrieve(theirs), OpenAI.NotFoundError)
      const byOrg = `${nativePath}/orgs/${other.orgId}/deployments/${theirs}/chat/completions`
      assert.equal((await send(server, { path: byOrg, key: one.secret, body: chat })).status, 404)
    }
    assert.equal((await acme.native.getDeployment(acme.deploymentId)).phase, 'serving')
  })

  it('cannot act as another with the header that is the operator’s', async () => {
    const asOther = server.as(acme.secret, birch.orgId)
    const { data } = await asOther.listDeployments().catch(() => ({ data: [] }))
    assert.ok(data.every(({ org_id }) => org_id === acme.orgId))
    await assert.rejects(asOther.getDeployment(birch.deploymentId), notFound)
  })

  it('neither list nor revoke each other’s keys', async () => {
    const theirs = (await birch.native.listKeys()).data
    const mine = (await acme.native.listKeys()).data
    assert.ok(mine.length > 0 && theirs.length > 0)
    assert.deepEqual(
      mine.filter(({ id }) => theirs.some((key) => key.id === id)),
      [],
    )
    await assert.rejects(acme.native.revokeKey(theirs[0]!.id), notFound)
    assert.deepEqual(
      (await birch.native.listKeys()).data.filter(({ revoked_at }) => revoked_at !== null),
      [],
    )
    assert.equal((await birch.openai.chat.completions.create({ model: 'mine', ...chat })).object, 'chat.completion')
  })

  it('a new key works at the gateway at once; revoked, its next request is refused', async () => {
    const created = await acme.native.createKey({ name: 'short-lived', role: 'developer' })
    assert.equal(created.propagated, true)
    const mine = server.openai(created.secret)
    assert.equal((await mine.chat.completions.create({ model: 'mine', ...chat })).object, 'chat.completion')
    const revoked = await acme.native.revokeKey(created.id)
    assert.deepEqual(revoked, { id: created.id, revoked: true, propagated: true })
    const refused = (error: unknown) => error instanceof OpenAI.AuthenticationError && error.code === 'invalid_key'
    await assert.rejects(mine.chat.completions.create({ model: 'mine', ...chat }), refused)
    await assert.rejects(
      server.as(created.secret).listDeployments(),
      (error: unknown) => error instanceof ApiError && error.status === 401 && error.code === 'invalid_key',
    )
  })

  it('an idempotency key makes one thing, however often it is sent; it belongs to one organisation', async () => {
    const body = { name: 'once', role: 'viewer' as const }
    const first = await acme.native.createKey(body, { idempotencyKey: 'the-same' })
    const second = await acme.native.createKey(body, { idempotencyKey: 'the-same' })
    const other = await birch.native.createKey(body, { idempotencyKey: 'the-same' })
    assert.equal(second.id, first.id)
    assert.equal(second.secret, first.secret)
    assert.notEqual(other.id, first.id)
    const changed = await send(server, {
      path: `${nativePath}/api-keys`,
      key: acme.secret,
      headers: { 'idempotency-key': 'the-same' },
      body: { name: 'another' },
    })
    assert.equal(changed.status, 409)
    assert.equal(errorOf(changed).code, 'idempotency_conflict')
  })
})

/** An organisation with an owner's key and one serving deployment called "mine". */
async function makeTenant(server: Server, name: string): Promise<Tenant> {
  const { id: orgId } = await server.native.createOrg({ name })
  const { secret } = await server.as(server.operatorKey, orgId).createKey({ name: 'owner', role: 'owner' })
  const native = server.as(secret)
  const { id } = await native.createDeployment({ name: 'mine', model_id: 'paddock/starter', gpu_type: 'cpu' })
  const openai = server.openai(secret)
  // Held until it answers.
  await openai.chat.completions.create({ model: 'mine', ...chat })
  return { orgId, secret, native, openai, deploymentId: id }
}
