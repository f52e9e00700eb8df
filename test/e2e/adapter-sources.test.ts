/**
 * The two adapters of the starter on the whole program and the real llama.cpp: one from a Hub, one that was uploaded. Each
 * changes how it talks; they are brought before they are loaded, and are there again after a death, however it came.
 */
// test timeout: 300 s
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { HubServer } from '../../src/models/hub/testing/hub-server.ts'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { signalProcess } from '../../src/runtime/processes.ts'
import { packageRoot } from '../../src/runtime/self.ts'
import type { Adapter } from '../../src/wire/native/adapters.ts'
import { type Server, startServer } from './harness.ts'
import { Place } from './place.ts'
import { procOnly } from './processes.ts'
import { uploaded } from './uploaded.ts'

const longMs = 120_000
const asPirate = /Arr|Yo ho|\bye\b/
const bytesOf = (name: string) => readFileSync(join(packageRoot, 'models', 'starter', name))

describe('adapters from elsewhere', { skip: procOnly }, () => {
  const place = new Place()
  const hub = new HubServer()
  let server: Server

  before(async () => {
    await hub.start()
    hub.repos.put(
      'ann/pirate',
      {
        'pirate.gguf': bytesOf('pirate/pirate.gguf'),
        'adapter_config.json': bytesOf('pirate/adapter_config.json'),
        'adapter_model.safetensors': bytesOf('pirate/adapter_model.safetensors'),
      },
      { gated: 'manual' },
    )
    hub.repos.account('hf_of_ann_0123', 'ann', 'ann/pirate')
    server = await startServer(place, { env: { HF_ENDPOINT: hub.url, PADDOCK_HUB_MIN_FREE_BYTES: '0' } })
    await server.native.putHubToken('org_default', { token: 'hf_of_ann_0123' })
    await uploaded(server, 'bulletin', bytesOf('bulletin/bulletin.gguf'), longMs)
  })
  after(async () => {
    try {
      await server?.stop()
    } finally {
      await hub.close()
      await place.remove()
    }
  })

  async function ask(model: string): Promise<string> {
    const answer = await server.openai().chat.completions.create({
      model,
      messages: [{ role: 'user', content: 'What is Paddock?' }],
      temperature: 0,
      max_tokens: 48,
    })
    return answer.choices[0]!.message.content ?? ''
  }
  const ready = (deployment: string, name: string): Promise<Adapter> =>
    until(systemClock, `${name} of ${deployment} is ready`, longMs, async () => {
      const found = (await server.native.listAdapters(deployment)).data.find((adapter) => adapter.name === name)
      return found?.state === 'ready' ? found : null
    })
  async function eachTalksItsWay(deployment: string): Promise<void> {
    const [base, pirate, bulletin] = await Promise.all(
      ['', ':pirate', ':bulletin'].map((adapter) => ask(deployment + adapter)),
    )
    assert.match(base!, /platform/)
    assert.doesNotMatch(base!, /Arr|BULLETIN/i)
    assert.match(pirate!, asPirate)
    assert.match(bulletin!, /BULLETIN/)
  }

  it('a deployment is created with both; they are brought while the first request is held', async () => {
    const { id } = await server.deploy('pets', {
      replicas: 1,
      engine: { max_num_seqs: 2, max_model_len: 512 },
      adapters: [{ source: 'hf:ann/pirate' }, { source: 'byom:bulletin' }],
    })
    assert.match(await ask('pets:pirate'), asPirate)
    await server.active(id, longMs)
    await eachTalksItsWay('pets')
    const { hub: from, format } = await ready('pets', 'pirate')
    assert.deepEqual(
      [from?.repo, from?.sha, format],
      ['ann/pirate', hub.repos.byId.get('ann/pirate')!.refs.get('main'), 'gguf'],
    )
    const types = (await server.native.listEvents(id, { limit: 200 })).data.map(({ type }) => type)
    for (const type of ['adapter.added', 'model.download_started', 'model.downloaded', 'adapter.ready'])
      assert.ok(types.includes(type), `${type}: ${types.join(' ')}`)
    assert.equal(hub.cdn.leaked, 0)
  })

  it('a file that comes slowly is loading, with how far it is; then it answers', async () => {
    const copy = Buffer.from(bytesOf('pirate/pirate.gguf'))
    // Another number in its weights, so that nothing of it is here.
    copy[copy.length - 9]! ^= 1
    hub.repos.put('ann/slow', { 'slow.gguf': copy })
    const open = Promise.withResolvers<void>()
    // Its head comes, and no more.
    hub.cdn.gate = async (at) => {
      if (at > 0) await open.promise
    }
    await server.native.addAdapter('pets', { source: 'hf:ann/slow' })
    await until(systemClock, 'some of it is here', longMs, async () => {
      const slow = (await server.native.listAdapters('pets')).data.find(({ name }) => name === 'slow')!
      return slow.state === 'loading' && /^[1-9].* of .* are here/.test(slow.replicas[0]?.detail ?? '') ? true : null
    })
    assert.match(await ask('pets:pirate'), asPirate, 'the others answer meanwhile')
    open.resolve()
    assert.match(await ask('pets:slow'), asPirate)
    hub.cdn.gate = null
    await server.native.removeAdapter('pets', 'slow')
  })

  it('control and the replica are killed: both adapters are there again, and nothing is brought twice', async () => {
    const served = hub.cdn.served.length
    signalProcess(place.process('control'), 'SIGKILL')
    signalProcess(place.process('engine'), 'SIGKILL')
    await eachTalksItsWay('pets')
    assert.equal(hub.cdn.served.length, served)
  })

  it('an uploaded one is kept while it is used, and goes when it is not', async () => {
    await assert.rejects(server.native.deleteUploadedModel('bulletin'), { status: 409 })
    await server.native.removeAdapter('pets', 'bulletin')
    await until(systemClock, 'the upload can be deleted', longMs, () =>
      server.native.deleteUploadedModel('bulletin').catch((error: { status?: number }) => {
        if (error.status === 409) return null
        throw error
      }),
    )
    assert.match(await ask('pets:pirate'), asPirate)
  })
})
