/**
 * Launch lines of vLLM and SGLang, read by what stands in for them under the real local driver: all that the drivers
 * write is understood, what nobody knows ends with status 2, the key is nowhere to be read, and adapters come and go.
 */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { TestFleet } from '../../src/compute/local/testing/fleet.ts'
import { presets } from '../../src/deployments/presets.ts'
import type { EngineCall } from '../../src/engines/contract.adapters.ts'
import type { EngineSpec, ModelFiles } from '../../src/engines/contract.ts'
import { sglang } from '../../src/engines/sglang/driver.ts'
import { vllm } from '../../src/engines/vllm/driver.ts'
import { placeModel, placePrograms } from './programs.ts'

const fleet = new TestFleet()
const path = placeModel(join(fleet.base, 'models', 'm'), { loadMs: 20, warmupMs: 20 })
const model: ModelFiles = { modelId: 'hf/m', format: 'safetensors', path, sizeBytes: 1, contextSize: 4096 }
const apiKey = 'a-key-of-the-test'
const pathBefore = process.env.PATH

before(() => (process.env.PATH = placePrograms(fleet.base)))
after(async () => {
  process.env.PATH = pathBefore
  await fleet.dispose()
})

for (const driver of [vllm, sglang]) {
  const order = (over: Partial<EngineSpec> = {}) =>
    fleet.order([], {
      model,
      launch: (host) =>
        driver.launch({
          spec: { type: driver.type, additionalArgs: [], ...over },
          model,
          host: { ...host, gpuIds: ['0', '1'], gpuVendor: 'nvidia' },
          servedName: 'hf/m',
          apiKey,
        }),
    })

  async function ready(over: Partial<EngineSpec> = {}) {
    const asked = order(over)
    await fleet.local.create(asked)
    const running = await fleet.running(asked.id)
    await fleet.until('it is ready', async () => {
      const status = await fetch(running.url + driver.healthPath).then(
        (answer) => answer.status,
        () => null,
      )
      return driver.readiness(status, '').state === 'ready'
    })
    return running
  }

  describe(`${driver.type}, simulated, under the local driver`, () => {
    it('understands the launch line of every preset, and of one with adapters', async () => {
      const adapterRoom = { rankMaximum: 16, count: 4 }
      const specs = [
        ...Object.values(presets).map(({ tuning }) => ({ tuning })),
        { tuning: presets.latency.tuning, adapterRoom },
      ]
      const all = await Promise.all(specs.map((spec) => ready({ ...spec, maxModelLen: 2048, maxNumSeqs: 8 })))
      await Promise.all(all.map(({ id }) => fleet.deleted(id)))
    })

    it('ends with status 2 at what it does not know, and says what that was', async () => {
      const asked = order({ additionalArgs: ['--no-such-thing'] })
      await fleet.local.create(asked)
      const exit = await fleet.exited(asked.id)
      assert.equal(exit.code, 2)
      assert.match(exit.lastLines.join('\n'), /unrecognized arguments: --no-such-thing/)
      await fleet.deleted(asked.id)
    })

    it('its key is not in its command line, and its port asks for it', async () => {
      const { id, engine, url } = await ready()
      if (process.platform === 'linux')
        assert.ok(!readFileSync(`/proc/${engine.pid}/cmdline`, 'latin1').includes(apiKey))
      const file = driver.type === 'sglang' ? join(fleet.run(id).order()!.cwd, 'sglang.yaml') : null
      if (file !== null) assert.equal(statSync(file).mode & 0o777, 0o600)
      const asking = (key: string) => fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })
      assert.deepEqual([(await asking('other')).status, (await asking(apiKey)).status], [401, 200])
      await fleet.deleted(id)
    })

    it('loads adapters while it runs, answers with them, and lets them go; asked twice is asked once', async () => {
      const adapters = driver.adapters!
      const { id, url } = await ready({ adapterRoom: adapters.room(null, [{ engineName: 'a-1', rank: 8 }])! })
      const ask = async ({ method, path, body }: EngineCall) => {
        const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' }
        const answer = await fetch(url + path, {
          method,
          headers,
          ...(body === null ? {} : { body: JSON.stringify(body) }),
        })
        return { status: answer.status, body: await answer.text() }
      }
      const made = (engineName: string, rank: number) => {
        const folder = join(fleet.base, 'adapters', driver.type, engineName)
        mkdirSync(folder, { recursive: true })
        writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify({ r: rank }))
        return { engineName, path: folder, rank }
      }
      const a = made('a-1', 8)
      for (let times = 0; times < 2; times++) {
        const loaded = await ask(adapters.load(a)!)
        assert.deepEqual(adapters.outcome('load', loaded.status, loaded.body), { done: true })
      }
      const wide = await ask(adapters.load(made('wide', 64))!)
      const refused = adapters.outcome('load', wide.status, wide.body)
      assert.ok(!refused.done && !refused.again && /rank/.test(refused.why), JSON.stringify(refused))
      const list = await ask(adapters.list)
      const listed = adapters.listed([a, { ...a, engineName: 'b' }], list.status, list.body)!
      assert.deepEqual([...listed.keys()], ['a-1'])
      const { model: name } = adapters.ask([{ handle: listed.get('a-1')!, scale: 1 }], 'hf/m')
      const asked = { model: name, messages: [{ role: 'user', content: 'hello' }] }
      const chat: EngineCall = { method: 'POST', path: '/v1/chat/completions', body: asked }
      assert.match((await ask(chat)).body, /Simulated with a-1/)
      for (let times = 0; times < 2; times++) {
        const gone = await ask(adapters.unload('a-1')!)
        assert.deepEqual(adapters.outcome('unload', gone.status, gone.body), { done: true })
      }
      assert.ok((await ask(chat)).status >= 400)
      await fleet.deleted(id)
    })
  })
}
