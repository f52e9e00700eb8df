/** A model from a Hub, as somebody deploys it: asked for, brought, checked, started, answering; and through a SIGKILL. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { HubServer } from '../../src/models/hub/testing/hub-server.ts'
import { starterBytes } from '../../src/models/hub/testing/repos.ts'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { signalProcess } from '../../src/runtime/processes.ts'
import { type Server, startServer } from './harness.ts'
import { Place } from './place.ts'

describe('a model from the Hub', () => {
  const place = new Place()
  const hub = new HubServer()
  let server: Server

  before(async () => {
    await hub.start()
    hub.repos.put('ann/tiny-GGUF', { 'README.md': '#', 'tiny-Q8_0.gguf': starterBytes, 'tiny-Q4_0.gguf': starterBytes })
    hub.repos.put('ann/gated-GGUF', { 'gated.gguf': starterBytes }, { gated: 'manual' })
    hub.repos.account('hf_of_ann_0123', 'ann', 'ann/gated-GGUF')
    server = await startServer(place, { env: { HF_ENDPOINT: hub.url, PADDOCK_HUB_MIN_FREE_BYTES: '0' } })
  })
  after(async () => {
    try {
      await server?.stop()
    } finally {
      await hub.close()
      await place.remove()
    }
  })

  const chat = (model: string) =>
    server.openai().chat.completions.create({
      model,
      messages: [{ role: 'user', content: 'Tell me about rivers.' }],
      max_tokens: 4,
      temperature: 0,
    })

  it('is brought while the first request is held, and answers it; a second deployment brings nothing', async () => {
    const model_id = 'hf:ann/tiny-GGUF/Q8_0'
    const made = await server.deploy('tiny', { model_id })
    assert.equal(made.model_source!.sha, hub.repos.byId.get('ann/tiny-GGUF')!.refs.get('main'))
    assert.equal((await chat('tiny')).choices.length, 1)
    const { data } = await server.native.listEvents('tiny')
    const types = data.map(({ type }) => type)
    for (const type of ['model.download_started', 'model.downloaded']) assert.ok(types.includes(type), types.join(' '))
    const whole = hub.cdn.served.length
    await server.deploy('twin', { model_id, replicas: 2 })
    await server.active('twin')
    assert.equal((await chat('twin')).choices.length, 1)
    // A look at its header, no file.
    assert.equal(hub.cdn.served.length, whole + 1)
    assert.equal(hub.cdn.leaked, 0)
  })

  it('is named by an id of the catalogue, which stays there as long as it is used', async () => {
    const entry = { id: 'ann/tiny', source_repo: 'ann/tiny-GGUF', context_size: 256, tensor_type: 'Q8_0' }
    assert.equal((await server.native.addModel(entry)).deployable, true)
    const made = await server.deploy('named', { model_id: 'ann/tiny' })
    assert.deepEqual([made.model_source!.repo, made.engine.type], ['ann/tiny-GGUF', 'llamacpp'])
    assert.equal((await chat('named')).choices.length, 1)
    await assert.rejects(server.native.removeModel('ann/tiny'), { status: 409, code: 'conflict' })
    await server.native.deleteDeployment('named')
    await until(systemClock, 'nobody uses it', 30_000, async () => {
      const removed = await server.native.removeModel('ann/tiny').catch(({ status }: { status?: number }) => status)
      return removed !== 409
    })
    const { data } = await server.native.listModels()
    assert.ok(data.every(({ id }) => id !== 'ann/tiny'))
  })

  it('is refused with the sentence that helps, until the organisation has a token that may', async () => {
    const model_id = 'hf:ann/gated-GGUF'
    await assert.rejects(server.deploy('gated', { model_id }), { code: 'hub_token_missing', status: 422 })
    await assert.rejects(server.native.putHubToken('org_default', { token: 'hf_nobody_knows' }), {
      code: 'hub_token_refused',
    })
    const said = await server.native.putHubToken('org_default', { token: 'hf_of_ann_0123' })
    assert.deepEqual([said.set, said.hint, said.account], [true, '0123', 'ann'])
    await server.deploy('gated', { model_id })
    assert.equal((await chat('gated')).choices.length, 1)
    assert.equal(hub.cdn.leaked, 0)
    assert.doesNotMatch(server.run.output, /hf_of_ann/)
  })

  it('goes on where it was when control is killed in the middle', async () => {
    const bytes = Buffer.from(starterBytes)
    // Other weights, so that nothing of it is here.
    bytes[bytes.length - 1]! ^= 1
    hub.repos.put('ann/slow-GGUF', { 'slow.gguf': bytes, 'config.json': '{}' })
    const served = hub.cdn.served.length
    const open = Promise.withResolvers<void>()
    // Its header is read when it is created; that comes before.
    hub.cdn.gate = async (at) => {
      if (at >= 256 * 1024) await open.promise
    }
    await server.deploy('slow', { model_id: 'hf:ann/slow-GGUF' })
    const partials = join(place.dataFolder, 'hub', 'partial')
    const sizes = () =>
      existsSync(partials) ? readdirSync(partials).map((name) => statSync(join(partials, name)).size) : []
    await until(systemClock, 'some of it is here', 30_000, () => sizes().some((size) => size > 0))
    signalProcess(place.process('control'), 'SIGKILL')
    open.resolve()
    assert.equal((await chat('slow')).choices.length, 1)
    const resumed = hub.cdn.served.slice(served).filter(({ from }) => from > 0)
    assert.ok(resumed.length > 0, JSON.stringify(hub.cdn.served.slice(served)))
    hub.cdn.gate = null
  })
})
