/**
 * LoRA adapters on vLLM, SGLang and llama-server through the whole platform, on the stand-ins of platform.test.ts, which say
 * in each answer with which adapters it was made: from the Hub, uploaded and from a path; while they serve, or by a roll
 * where an engine cannot; killed, scaled, rolled, removed. What is asked of an adapter is never answered by anything else.
 */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, describe, it } from 'node:test'
import { writeTestAdapter } from '../../src/engines/llamacpp/worker/testing-adapter.ts'
import { firstQueries, loraPair, peftFiles, writePeft } from '../../src/models/adapters/testing.ts'
import type { HubServer } from '../../src/models/hub/testing/hub-server.ts'
import { safetensorsRepo } from '../../src/models/hub/testing/repos.ts'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { signalProcess } from '../../src/runtime/processes.ts'
import type { Adapter } from '../../src/wire/native/adapters.ts'
import { ApiError } from '../../src/wire/native/client.ts'
import type { Server } from '../e2e/harness.ts'
import type { Place } from '../e2e/place.ts'
import { procOnly } from '../e2e/processes.ts'
import { uploaded } from '../e2e/uploaded.ts'
import { placeGguf, placeModel } from './programs.ts'

const longMs = 120_000
const quick = { loadMs: 20, warmupMs: 20 }
const wide = { hidden_size: 64, num_attention_heads: 4, num_key_value_heads: 4, num_hidden_layers: 2 }
const own = { peft_type: 'LORA', r: 8, base_model_name_or_path: 'ann/tiny' }

interface Ground {
  place: Place
  hub: HubServer
  /** Once it runs; it takes models from `models` below the place, and asks the hub. */
  server(): Server
}

interface Tried {
  type: 'vllm' | 'sglang'
  name: string
  model(): string
  /** It is created with its first adapter; else it gets it while it serves, and has set no room aside. */
  born: boolean
  /** Model → what it is made with. */
  expected: Record<string, string>
}

export function adaptersSuite(ground: Ground): void {
  const on = new Asking(ground)
  describe('adapters', { skip: procOnly, concurrency: true }, () => {
    before(async () => {
      on.server = ground.server()
      placeAdapters(on)
      await upload(on)
    })
    peftSuite(on, { type: 'vllm', name: 'tuned-vllm', model: () => 'hf:ann/tiny', born: true, expected: {} })
    const model = () => placeModel(on.inModels('tiny'), quick)
    peftSuite(on, { type: 'sglang', name: 'tuned-sglang', model, born: false, expected: {} })
    describe('llama-server', { concurrency: 1 }, () => llamaServerSuite(on))
  })
}

/** What all of them ask and look at. */
class Asking {
  readonly place: Place
  readonly hub: HubServer
  server!: Server
  constructor({ place, hub }: Ground) {
    this.place = place
    this.hub = hub
  }

  inModels(name: string): string {
    return join(this.place.root, 'models', name)
  }

  /** What the answer says that it was made with; '' = the model as it is. */
  readonly madeWith = async (model: string): Promise<string> => {
    const messages = [{ role: 'user' as const, content: 'a' }]
    const answer = await this.server.openai().chat.completions.create({ model, messages })
    assert.equal(answer.model, model)
    const content = answer.choices[0]!.message.content ?? ''
    const [, seen] = /^Simulated(?: with (\S+))? word1/.exec(content) ?? assert.fail(content)
    return seen ?? ''
  }

  async adaptersOf(name: string): Promise<Map<string, Adapter>> {
    return new Map((await this.server.native.listAdapters(name)).data.map((adapter) => [adapter.name, adapter]))
  }

  /** On so many replicas, which are all that answer. */
  ready(deployment: string, adapter: string, replicas = 1): Promise<Adapter> {
    return until(systemClock, `${adapter} of ${deployment} is ready on ${replicas}`, longMs, async () => {
      const found = (await this.adaptersOf(deployment)).get(adapter)
      const on = found?.replicas.filter(({ state }) => state === 'ready').length
      return on === replicas && found!.replicas.length === replicas ? found! : null
    })
  }

  /** The newest that is ready. */
  engineOf(deployment: string) {
    return until(systemClock, `a replica of ${deployment} is ready`, longMs, async () => {
      const { data } = await this.server.native.listReplicas(deployment)
      const [newest] = data.filter(({ phase }) => phase === 'ready').toSorted((a, b) => b.revision - a.revision)
      return this.place.processes('engine').find(({ replicaId }) => replicaId === newest?.id) ?? null
    })
  }

  /** Each answers for itself, also when all are asked at once. */
  async eachForItself(expected: Record<string, string>, times = 3): Promise<void> {
    const asked = Object.keys(expected).flatMap((model) => Array<string>(times).fill(model))
    const answers = await Promise.all(asked.map(this.madeWith))
    assert.deepEqual(
      asked.map((model, at) => [model, answers[at]]),
      asked.map((model) => [model, expected[model]]),
    )
  }
}

async function refused(asking: Promise<unknown>): Promise<{ status: number; code: string; message: string }> {
  return asking.then(
    () => assert.fail('it was done'),
    (error) => error,
  )
}

function placeAdapters(on: Asking): void {
  const { hub } = on
  mkdirSync(on.inModels(''), { recursive: true, mode: 0o755 })
  hub.repos.put('ann/tiny', safetensorsRepo({ ...wide, intermediate_size: 128 }))
  const gguf = readFileSync(writeTestAdapter(on.inModels('made.gguf'), { seed: 3 }))
  hub.repos.put('ann/lora', { ...peftFiles({ config: own }), 'lora.gguf': gguf })
  hub.repos.put('ann/strange', peftFiles({ config: { ...own, base_model_name_or_path: 'acme/other' } }))
  hub.repos.put('ann/gguf', { 'lora.gguf': gguf })
  writePeft(on.inModels('local'), { config: own })
  writePeft(on.inModels('large'), { config: { ...own, r: 32 }, tensors: loraPair(firstQueries, 64, 64, 32) })
  writePeft(on.inModels('narrow'), { config: own, tensors: loraPair(firstQueries, 32, 64) })
  for (const seed of [5, 6]) writeTestAdapter(on.inModels(`seed${seed}.gguf`), { seed })
}

function upload(on: Asking): Promise<void> {
  return uploaded(on.server, 'sent', readFileSync(on.inModels('made.gguf')), longMs)
}

function peftSuite(on: Asking, tried: Tried): void {
  describe(tried.type, { concurrency: 1 }, () => {
    firstOnes(on, tried)
    refusals(on, tried)
    deaths(on, tried)
    // Nothing in it is one engine's alone.
    if (tried.born) growth(on, tried)
    removals(on, tried)
  })
}

function firstOnes(on: Asking, { type, name, model, born, expected }: Tried): void {
  it('the first, of the Hub, is waited for; one from a path is added while it serves', async () => {
    const wish = { source: 'hf:ann/lora', name: 'hub' }
    const made = { model_id: model(), engine: { type, max_model_len: 4096 } }
    await on.server.deploy(name, { ...made, ...(born ? { adapters: [wish] } : {}) })
    if (!born) {
      assert.equal(await on.madeWith(name), '')
      await on.server.native.addAdapter(name, wish)
    }
    const first = await on.madeWith(`${name}:hub`)
    const { id, format, hub: from } = await on.ready(name, 'hub')
    assert.deepEqual([first, format, from?.repo], [id, 'peft', 'ann/lora'])
    const before = await on.engineOf(name)
    const added = await on.server.native.addAdapter(name, { source: on.inModels('local') })
    assert.equal(await on.madeWith(`${name}:local`), added.id, 'held until it is loaded')
    assert.equal((await on.engineOf(name)).pid, before.pid)
    assert.equal((await on.server.native.getDeployment(name)).revision, born ? 1 : 2)
    Object.assign(expected, { [name]: '', [`${name}:hub`]: id, [`${name}:local`]: added.id })
    await on.eachForItself(expected)
    const listed = (await on.server.openai().models.list()).data as unknown as { id: string; parent?: string }[]
    const shown = listed.filter((one) => one.id.startsWith(name)).map((one) => [one.id, one.parent])
    assert.deepEqual(shown, [
      [name, undefined],
      [`${name}:hub`, name],
      [`${name}:local`, name],
    ])
  })
}

function refusals(on: Asking, { type, name }: Tried): void {
  it('what it cannot have is refused, with what to do; nothing of it is loaded', async () => {
    for (const mixture of ['hub@0.7+local@0.3', 'hub+local', 'hub@0.5']) {
      const { status, code, message } = await refused(on.madeWith(`${name}:${mixture}`))
      assert.deepEqual([status, code], [400, 'engine_unsupported'])
      assert.match(message, /one adapter per request/)
    }
    assert.equal((await refused(on.madeWith(`${name}:nobody`))).status, 404)
    for (const source of [on.inModels('seed5.gguf'), 'hf:ann/gguf', 'byom:sent']) {
      const error = await refused(on.server.native.addAdapter(name, { source, name: 'x' }))
      assert.ok(error instanceof ApiError)
      assert.deepEqual([error.status, error.code], [400, 'adapter_unsuitable'], source)
      assert.match(error.message, /loads LoRA adapters as PEFT/)
      assert.match(error.action, /adapter_config\.json and adapter_model\.safetensors/)
    }
    // A folder on this disk has no name by which it could be known what it is.
    const strange = type === 'vllm' ? [['hf:ann/strange', /"acme\/other"/] as const] : []
    for (const [source, why] of [[on.inModels('narrow'), /from 32 to 64 channels/] as const, ...strange]) {
      const error = await refused(on.server.native.addAdapter(name, { source, name: 'x' }))
      assert.ok(error instanceof ApiError)
      assert.deepEqual([error.status, error.message], [422, 'LoRA adapter does not match base model'])
      assert.match((error.detail as { reason: string }).reason, why)
    }
    assert.deepEqual([...(await on.adaptersOf(name)).keys()], ['hub', 'local'])
  })
}

function deaths(on: Asking, { name, expected }: Tried): void {
  it('its replica is killed: the next one has them before it gets their requests', async () => {
    const before = await on.engineOf(name)
    signalProcess(before, 'SIGKILL')
    await on.eachForItself(expected)
    assert.notEqual((await on.engineOf(name)).pid, before.pid)
  })
}

function growth(on: Asking, { name, expected }: Tried): void {
  it('so has each replica that comes', async () => {
    await on.server.native.changeScaling(name, { min_replicas: 2, max_replicas: 2 })
    for (let count = 0; count < 2; ) {
      await on.eachForItself(expected, 1)
      count = (await on.server.native.getDeployment(name)).ready_replicas
    }
    for (const adapter of ['hub', 'local']) await on.ready(name, adapter, 2)
    await on.eachForItself(expected)
  })

  it('one that needs more room than was set aside: rolled, and the others answer all the while', async () => {
    await on.server.native.changeScaling(name, { min_replicas: 1, max_replicas: 1 })
    const added = await on.server.native.addAdapter(name, { source: on.inModels('large') })
    const large = on.madeWith(`${name}:large`)
    let rolled = false
    void large.finally(() => (rolled = true)).catch(() => {})
    while (!rolled) await on.eachForItself(expected, 1)
    assert.equal(await large, added.id)
    assert.equal((await on.server.native.getDeployment(name)).revision, 2)
    expected[`${name}:large`] = added.id
    await on.eachForItself(expected)
  })
}

function removals(on: Asking, { name, expected }: Tried): void {
  it('one that is removed is refused from then on; another under its name is another', async () => {
    const removed = await on.server.native.removeAdapter(name, 'local')
    assert.equal((await refused(on.madeWith(`${name}:local`))).status, 404)
    delete expected[`${name}:local`]
    await on.eachForItself(expected)
    const again = await on.server.native.addAdapter(name, { source: on.inModels('local') })
    assert.notEqual(again.id, removed.id)
    expected[`${name}:local`] = again.id
    await on.eachForItself(expected)
    await on.server.native.deleteDeployment(name)
  })
}

function llamaServerSuite(on: Asking): void {
  const name = 'tuned-llama-server'
  /** What its stand-in calls each: the last of its path. */
  const of = (file: string, scale = 1) => `${file}@${scale}`
  const [hubs, third] = ['lora.gguf', 'seed5.gguf']
  let sent: string

  it('is launched with those of its create, once they are all here; alone and mixed', async () => {
    const open = Promise.withResolvers<void>()
    // Its head comes, and no more.
    on.hub.cdn.gate = async (at) => {
      if (at > 0) await open.promise
    }
    const made = await on.server.deploy(name, {
      model_id: placeGguf(on.inModels('gguf'), quick),
      engine: { type: 'llama-server', max_num_seqs: 2, max_model_len: 1024 },
      adapters: [
        { source: 'hf:ann/lora', name: 'hub' },
        { source: 'byom:sent', name: 'sent' },
      ],
    })
    const first = on.madeWith(`${name}:hub`)
    await until(systemClock, 'it is being brought', longMs, async () => {
      const { data } = await on.server.native.listEvents(made.id)
      return data.some(({ type }) => type === 'model.download_started') ? true : null
    })
    assert.equal((await on.server.native.getDeployment(name)).ready_replicas, 0)
    open.resolve()
    for (const adapter of ['hub', 'sent']) await on.ready(name, adapter)
    sent = `${(await on.server.native.uploadedModel('sent')).id}.gguf`
    on.hub.cdn.gate = null
    assert.equal(await first, of(hubs))
    await on.eachForItself({
      [name]: '',
      [`${name}:hub`]: of(hubs),
      [`${name}:sent`]: of(sent),
      [`${name}:hub@0.7+sent@0.3`]: `${of(hubs, 0.7)}+${of(sent, 0.3)}`,
      [`${name}:sent@2`]: of(sent, 2),
    })
  })

  it('another one: rolled, and the others answer all the while; in the other format: how to convert it', async () => {
    const before = await on.engineOf(name)
    await on.server.native.addAdapter(name, { source: on.inModels('seed5.gguf'), name: 'third' })
    const first = on.madeWith(`${name}:third`)
    let rolled = false
    void first.finally(() => (rolled = true)).catch(() => {})
    while (!rolled) await on.eachForItself({ [name]: '', [`${name}:hub+sent`]: `${of(hubs)}+${of(sent)}` }, 1)
    assert.equal(await first, of(third))
    assert.notEqual((await on.engineOf(name)).pid, before.pid)
    assert.equal((await on.server.native.getDeployment(name)).revision, 2)
    const all = [of(third, 0.2), of(hubs, 0.5), of(sent, 0.3)]
    await on.eachForItself({ [`${name}:third@0.2+hub@0.5+sent@0.3`]: all.join('+') })
    const error = await refused(on.server.native.addAdapter(name, { source: on.inModels('local'), name: 'x' }))
    assert.ok(error instanceof ApiError)
    assert.deepEqual([error.status, error.code], [400, 'adapter_unsuitable'])
    assert.match(error.action, /convert_lora_to_gguf\.py --base/)
  })

  it('killed: launched with them again; one that is removed is refused from then on', async () => {
    signalProcess(await on.engineOf(name), 'SIGKILL')
    const mixed = { [`${name}:hub@0.7+sent@0.3`]: `${of(hubs, 0.7)}+${of(sent, 0.3)}` }
    await on.eachForItself({ [name]: '', ...mixed })
    await on.server.native.removeAdapter(name, 'third')
    assert.equal((await refused(on.madeWith(`${name}:third`))).status, 404)
    await on.eachForItself({ [name]: '', ...mixed })
    assert.equal((await on.server.native.getDeployment(name)).revision, 3)
    await on.server.native.deleteDeployment(name)
  })
}
