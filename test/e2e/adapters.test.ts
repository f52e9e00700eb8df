/**
 * LoRA adapters on the whole program and the real llama.cpp: two of them and the base answer differently, and go on doing
 * so whatever becomes of the replicas. What is asked of an adapter is never answered by the base model.
 */
// test timeout: 300 s
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { writeTestAdapter } from '../../src/engines/llamacpp/worker/testing-adapter.ts'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { signalProcess } from '../../src/runtime/processes.ts'
import type { Adapter } from '../../src/wire/native/adapters.ts'
import { ApiError } from '../../src/wire/native/client.ts'
import { type Server, startServer } from './harness.ts'
import { Place } from './place.ts'
import { procOnly } from './processes.ts'

const longMs = 120_000
const names = ['one', 'two'] as const

describe('adapters', { skip: procOnly }, () => {
  const place = new Place()
  const folder = join(place.root, 'adapters')
  let server: Server
  let id: string
  /** What each says, by model. */
  const said = new Map<string, string>()

  before(async () => {
    mkdirSync(folder, { mode: 0o700 })
    for (const [n, name] of names.entries()) writeTestAdapter(join(folder, `${name}.gguf`), { seed: n + 7 })
    server = await startServer(place, {
      env: {
        PADDOCK_MODELS_ALLOW_PATHS: folder,
        PADDOCK_LOG_LEVEL: 'warn',
        PADDOCK_AUTOSCALING_LOOK_EVERY_SECONDS: '3600',
        PADDOCK_AUTOSCALING_IDLE_TIMEOUT_MINIMUM_SECONDS: '0',
      },
    })
    id = (await server.deploy('pets', { replicas: 1, engine: { max_num_seqs: 2, max_model_len: 512 } })).id
    await server.active(id, longMs)
  })
  after(async () => {
    try {
      await server?.stop()
    } finally {
      await place.remove()
    }
  })

  async function ask(model: string): Promise<string> {
    const answer = await server.openai().chat.completions.create({
      model,
      messages: [{ role: 'user', content: 'hello there' }],
      temperature: 0,
      max_tokens: 16,
    })
    assert.equal(answer.model, model)
    return answer.choices[0]!.message.content ?? ''
  }
  const ready = (name: string, replicas: number): Promise<Adapter> =>
    until(systemClock, `${name} is ready on ${replicas}`, longMs, async () => {
      const found = (await server.native.listAdapters(id)).data.find((adapter) => adapter.name === name)
      const count = found?.replicas.filter(({ state }) => state === 'ready').length
      return count === replicas && found!.replicas.length === replicas ? found! : null
    })
  /** All of them, several times at once, as they were at first. */
  async function allAsBefore(): Promise<void> {
    const models = [...said.keys()].flatMap((model) => [model, model, model])
    const answers = await Promise.all(models.map((model) => ask(model)))
    assert.deepEqual(
      models.map((model, i) => [model, answers[i]]),
      models.map((model) => [model, said.get(model)]),
    )
  }
  const status = async (call: Promise<unknown>): Promise<number> => {
    const error = await call.then(
      () => null,
      (thrown: { status: number }) => thrown,
    )
    return error === null ? 200 : error.status
  }

  it('are added while it serves, and answer each for itself, alone and mixed', async () => {
    const engines = place.processes('engine').map(({ pid }) => pid)
    for (const name of names) {
      const added = await server.native.addAdapter(id, { source: join(folder, `${name}.gguf`) })
      assert.deepEqual([added.name, added.model, added.format, added.rank], [name, `pets:${name}`, 'gguf', 4])
      await ready(name, 1)
    }
    assert.deepEqual(
      place.processes('engine').map(({ pid }) => pid),
      engines,
      'the engine is the same',
    )
    for (const model of ['pets', 'pets:one', 'pets:two', 'pets:one@0.7+two@0.3', 'pets:two@0.5'])
      said.set(model, await ask(model))
    assert.equal(new Set(said.values()).size, said.size, JSON.stringify([...said]))
    await allAsBefore()
    const listed = (await server.openai().models.list()).data.map((model) => model.id)
    assert.deepEqual(listed, ['pets', 'pets:one', 'pets:two'])
    assert.equal((await server.openai().models.retrieve('pets:one')).id, 'pets:one')
  })

  it('what is none of them is refused', async () => {
    const cases: [string, number][] = [
      ['pets:three', 404],
      ['pets:', 404],
      ['others:one', 404],
      ['pets:one+three', 404],
      ['pets:one@0', 400],
      ['pets:one@-1', 400],
      ['pets:one@nine', 400],
      ['pets:one+one', 400],
    ]
    for (const [model, expected] of cases) assert.equal(await status(ask(model)), expected, model)
    const wrong = writeTestAdapter(join(folder, 'wrong.gguf'), { seed: 3, inputs: 32 })
    const refused = await server.native.addAdapter(id, { source: wrong }).catch((error: unknown) => error)
    assert.ok(refused instanceof ApiError)
    assert.equal(refused.message, 'LoRA adapter does not match base model')
    assert.match((refused.detail as { reason: string }).reason, /channels/)
    await allAsBefore()
  })

  it('the replica is killed: nobody else answers for an adapter, and the next has them all', async () => {
    const [engine] = place.processes('engine')
    signalProcess(engine!, 'SIGKILL')
    // Held until the new one has loaded what is asked.
    await allAsBefore()
    assert.notEqual(place.process('engine').pid, engine!.pid)
  })

  it('more replicas: each has them before it gets their requests', async () => {
    await server.native.changeScaling(id, { min_replicas: 3, max_replicas: 3 })
    for (let ready = 0; ready < 3; ) {
      await allAsBefore()
      ready = (await server.native.getDeployment(id)).ready_replicas
    }
    for (const name of names) await ready(name, 3)
    await allAsBefore()
  })

  it('asleep and woken by a request for an adapter', async () => {
    await server.native.changeScaling(id, { min_replicas: 0, max_replicas: 1, idle_timeout_seconds: 3_600 })
    await server.native.sleepDeployment(id)
    await server.when(id, 'sleeps', ({ phase, ready_replicas }) => phase === 'asleep' && ready_replicas === 0, longMs)
    assert.equal((await server.native.listAdapters(id)).data.length, 2)
    assert.equal(await ask('pets:two'), said.get('pets:two'))
    await allAsBefore()
  })

  it('one that is removed is not answered for any more; the others are', async () => {
    await server.native.removeAdapter(id, 'one')
    assert.equal(await status(ask('pets:one')), 404)
    assert.equal(await status(ask('pets:one@0.7+two@0.3')), 404)
    for (const model of ['pets', 'pets:two']) assert.equal(await ask(model), said.get(model))
    assert.equal(await status(server.native.removeAdapter(id, 'one')), 404)
    // The same name with other weights.
    await server.native.addAdapter(id, { name: 'one', source: join(folder, 'two.gguf') })
    await ready('one', 1)
    assert.equal(await ask('pets:one'), said.get('pets:two'))
    const events = (await server.native.listEvents(id, { limit: 200 })).data.map(({ type }) => type)
    for (const type of ['adapter.added', 'adapter.ready', 'adapter.removed']) assert.ok(events.includes(type), type)
  })
})
