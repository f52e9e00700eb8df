/**
 * vLLM, SGLang and llama-server through the whole platform, as far as that goes without a GPU: the real server launches what its
 * drivers say, from the PATH, under its keeper; what stands there in their place is simulated (simulated/), to the letter
 * of their wire. Created → launched → ready → asked in every way → metered → rolled and drained → stopped.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import OpenAI from 'openai'
import { engineKey } from '../../src/deployments/observe.ts'
import type { EngineDriver } from '../../src/engines/contract.ts'
import { llamaServer } from '../../src/engines/llamacpp/server.ts'
import { sglang } from '../../src/engines/sglang/driver.ts'
import { vllm } from '../../src/engines/vllm/driver.ts'
import { Secret } from '../../src/kernel/secret.ts'
import { HubServer } from '../../src/models/hub/testing/hub-server.ts'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { readIfThere, readJsonIfThere } from '../../src/runtime/files.ts'
import { Seal } from '../../src/runtime/seal.ts'
import { ApiError } from '../../src/wire/native/client.ts'
import { type Server, startServer } from '../e2e/harness.ts'
import { Place } from '../e2e/place.ts'
import { adaptersSuite } from './adapters.suite.ts'
import { placeGguf, placeModel, placePrograms } from './programs.ts'

const patienceMs = 60_000
interface Tried {
  driver: EngineDriver
  type: 'vllm' | 'sglang' | 'llama-server'
  /** The member that thoughts are in. */
  thoughts: string
  /** Of its start, as far as it says. */
  parts: string[]
  /** Its answer to a name that is not its own. */
  stranger: number
  /** Another version than the one on the PATH. */
  older?: string
  /** Its last words when nobody was served any more. */
  leaves: RegExp
}

const engines: Tried[] = [
  {
    driver: vllm,
    type: 'vllm',
    thoughts: 'reasoning',
    parts: ['load', 'warmup'],
    stranger: 404,
    older: '0.27.1',
    leaves: /Shutting down/,
  },
  {
    driver: sglang,
    type: 'sglang',
    thoughts: 'reasoning_content',
    parts: ['load', 'warmup'],
    stranger: 200,
    older: '0.5.16',
    leaves: /Remaining number of requests 0/,
  },
  {
    driver: llamaServer,
    type: 'llama-server',
    thoughts: 'reasoning_content',
    parts: ['load'],
    stranger: 200,
    leaves: /cleaning up before exit, 0 of its slots/,
  },
]

const place = new Place()
const hub = new HubServer()
const model = (type: string, name: string, over: object = {}) =>
  (type === 'llama-server' ? placeGguf : placeModel)(join(place.root, 'models', name), over)
/** What a deployment names: a folder, or the file in it. */
const pathOf = (type: string, name: string) =>
  join(place.root, 'models', name, ...(type === 'llama-server' ? ['model.gguf'] : []))
let server: Server

before(async () => {
  await hub.start()
  server = await startServer(place, {
    env: {
      PATH: placePrograms(place.root),
      PADDOCK_MODELS_ALLOW_PATHS: join(place.root, 'models'),
      PADDOCK_COMPUTE_LOCAL_STOP_GRACE_SECONDS: '10',
      PADDOCK_START_BRAKE_AFTER: '2',
      HF_ENDPOINT: hub.url,
      PADDOCK_HUB_MIN_FREE_BYTES: '0',
    },
  })
})
after(async () => {
  try {
    await server?.stop()
  } finally {
    await hub.close()
    await place.remove()
  }
})

const words = (text: string) => [{ role: 'user' as const, content: text }]

/** The one ready replica: its own address and key. */
async function replicaOf(name: string) {
  const id = await until(systemClock, `a replica of ${name} is ready`, patienceMs, async () => {
    const { data } = await server.native.listReplicas(name)
    return data.find(({ phase }) => phase === 'ready')?.id ?? null
  })
  const order = readJsonIfThere<{ address: string; port: number }>(join(place.dataFolder, 'engines', id, 'order.json'))!
  const seal = new Seal(new Secret(readIfThere(join(place.dataFolder, 'secret-key'))!.trim()))
  return { id, url: `http://${order.address}:${order.port}`, key: engineKey(seal, id) }
}

async function refusal(asking: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
  const error = await asking.then(
    () => assert.fail('it was answered'),
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof OpenAI.APIError, String(error))
  return error
}

/** What the client reads of a stream, raw. */
async function raw(name: string, body: object): Promise<string> {
  const answer = await server.native.chatCompletions(name, { ...body, stream: true })
  return answer.text()
}

const chunksOf = (text: string) =>
  text
    .split('\n\n')
    .filter((event) => event.startsWith('data: {'))
    .map((event) => JSON.parse(event.slice('data: '.length)))

for (const { driver, type, thoughts, parts, stranger, older, leaves } of engines)
  describe(`${type}, simulated, through the whole platform`, () => {
    const name = `on-${type}`
    let openai: OpenAI

    it('is launched from the PATH, held for, and its parts of the start are seen', async () => {
      openai = server.openai()
      const path = model(type, type, { loadMs: 200, warmupMs: 2_000 })
      const made = await server.deploy(name, { model_id: path, engine: { type, max_num_seqs: 4, max_model_len: 4096 } })
      assert.deepEqual([made.engine.type, made.status], [type, 'provisioning'])
      // It comes while the port still refuses.
      const held = await openai.chat.completions.create(
        { model: name, messages: words('hello') },
        { timeout: patienceMs },
      )
      assert.match(held.choices[0]!.message.content!, /^Simulated word1/)
      const { data } = await server.native.listReplicas(name)
      assert.deepEqual(Object.keys(data[0]!.start_ms).slice(-parts.length), parts)
    })

    it('answers plain: the name that was asked for, usage with what was cached, thoughts under its own name', async () => {
      const ask = { model: name, messages: words('think of a river, twice') }
      const first = await openai.chat.completions.create(ask)
      assert.equal(first.model, name)
      assert.equal((first.choices[0]!.message as unknown as Record<string, unknown>)[thoughts], 'Let me see.')
      const again = await openai.chat.completions.create(ask)
      assert.deepEqual(again.usage!.prompt_tokens_details, { cached_tokens: again.usage!.prompt_tokens - 1 })
      assert.equal(again.usage!.completion_tokens, 11)
    })

    it('streams: usage to those who ask and to nobody else, thoughts in their order, [DONE]', async () => {
      for (const include of [true, false]) {
        const options = include ? { stream_options: { include_usage: true } } : {}
        const text = await raw(name, { messages: words('think and stream'), ...options })
        assert.ok(text.endsWith('data: [DONE]\n\n'), text.slice(-100))
        const chunks = chunksOf(text)
        const usages = chunks.filter(({ usage }) => usage)
        assert.deepEqual([usages.length, usages[0]?.usage.completion_tokens], include ? [1, 11] : [0, undefined])
        assert.equal(chunks.map(({ choices }) => choices[0]?.delta?.[thoughts] ?? '').join(''), 'Let me see.')
        assert.equal(
          chunks.map(({ choices }) => choices[0]?.delta?.content ?? '').join(''),
          'Simulated word1 word2 word3 word4 word5 word6 word7',
        )
      }
    })

    it('answers completions, plain and as a stream', async () => {
      const ask = { model: name, prompt: 'a river', max_tokens: 3 }
      const plain = await openai.completions.create(ask)
      assert.deepEqual([plain.choices[0]!.text, plain.choices[0]!.finish_reason], ['Simulated word1 word2', 'length'])
      let text = ''
      for await (const chunk of await openai.completions.create({ ...ask, stream: true }))
        text += chunk.choices[0]?.text
      assert.equal(text, plain.choices[0]!.text)
    })

    it('stops computing when its client leaves; what was used is known', async () => {
      const { url, key } = await replicaOf(name)
      const read = async () =>
        driver.metrics(
          await (await fetch(url + driver.metricsPath, { headers: { authorization: `Bearer ${key}` } })).text(),
        )
      const stream = await openai.chat.completions.create({ model: name, messages: words('slowly'), stream: true })
      let seen = 0
      for await (const chunk of stream) {
        if (chunk.choices[0]?.delta.content && ++seen === 5) break
      }
      await until(systemClock, 'nothing runs', patienceMs, async () => (await read()).running === 0)
      const { generatedTokensTotal = 0 } = await read()
      assert.ok(generatedTokensTotal < 200, `${generatedTokensTotal} tokens were made`)
      await until(systemClock, 'it is in the ledger', patienceMs, async () => {
        const { status } = await server.native.getMetrics(name)
        return status['499'] === 1
      })
    })

    it('a name that is not its own is refused by us: one engine would answer to any', async () => {
      const { status, code } = await refusal(openai.chat.completions.create({ model: 'nobody', messages: words('a') }))
      assert.deepEqual([status, code], [404, 'model_not_found'])
      const { url, key } = await replicaOf(name)
      const direct = await fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'nobody', messages: words('a') }),
      })
      assert.equal(direct.status, stranger)
      assert.equal((await fetch(`${url}/v1/models`)).status, 401, 'and its port asks for the key')
    })

    it('its refusals come in the client’s words, flat or nested', async () => {
      const long = words('river '.repeat(5_000))
      const { status, code, message } = await refusal(openai.chat.completions.create({ model: name, messages: long }))
      assert.deepEqual([status, code], [400, 'context_length_exceeded'], message)
      const failed = await refusal(openai.chat.completions.create({ model: name, messages: words('please fail') }))
      assert.deepEqual([failed.status, failed.code], [500, 'engine_failed'])
      const steering = { model: name, messages: words('a'), chat_template: '{{ x }}' }
      const refused = await refusal(openai.chat.completions.create(steering as never))
      assert.equal(refused.status, 400)
    })

    it('a stream that fails, or ends without an end, ends with an error and not as a success', async () => {
      const failed = await raw(name, { messages: words('please fail') })
      assert.match(failed, /data: \{"error":\{.*"message":"(EngineCore|Scheduler|Compute)/)
      const short = await raw(name, { messages: words('please stop short') })
      assert.equal(chunksOf(short).at(-1).error.code, 'engine_failed', short.slice(-300))
      if (type === 'llama-server') return
      const aborted = await raw(name, { messages: words('please abort') })
      assert.equal(chunksOf(aborted).at(-1).error.code, 'engine_failed', aborted.slice(-300))
      const plain = await refusal(openai.chat.completions.create({ model: name, messages: words('please abort') }))
      assert.deepEqual([plain.status, plain.code], [500, 'engine_failed'])
    })

    it('all of it was metered', async () => {
      await until(systemClock, 'the counts', patienceMs, async () => {
        const { status, tokens } = await server.native.getMetrics(name, { window: '1h' })
        // hello, two and two of thoughts and streams, two completions; 400s; plain and streamed failures.
        const counted = [status['200'], status['499'], status['400'], status['500']]
        const failures = type === 'llama-server' ? 3 : 5
        return (
          JSON.stringify(counted) === `[7,1,2,${failures}]` && (tokens?.reasoning ?? 0) >= (type === 'sglang' ? 12 : 0)
        )
      }).catch(async (error: Error) =>
        assert.fail(`${error.message}: ${JSON.stringify(await server.native.getMetrics(name, { window: '1h' }))}`),
      )
    })

    it('another setting rolls: what runs is let finish, then the engine is told to stop, and stops', async () => {
      const before = await replicaOf(name)
      const stream = await openai.chat.completions.create({ model: name, messages: words('slowly'), stream: true })
      let finish: string | null = null
      let tokens = 0
      for await (const chunk of stream) {
        if (tokens++ === 3) await server.native.changeDeployment(name, { engine: { max_num_seqs: 5 } })
        finish = chunk.choices[0]?.finish_reason ?? finish
      }
      assert.deepEqual([finish, tokens > 160], ['stop', true], 'nothing of it was cut')
      const said = new Set<string>()
      const folder = join(place.dataFolder, 'engines', before.id)
      const look = async () => {
        for (const line of (readIfThere(join(folder, 'log')) ?? '').split('\n')) said.add(line)
        const { data } = await server.native.listReplicas(name)
        return data.some(({ id, phase }) => id === before.id && phase === 'gone')
      }
      await until(systemClock, 'the old one is gone', patienceMs, look, 10)
      assert.match([...said].join('\n'), leaves, 'nobody was served when it was told to stop')
    })

    it('is stopped, and nothing of it is left', async () => {
      const { id } = await replicaOf(name)
      if (type === 'vllm') await toldByAnother(id)
      await server.native.deleteDeployment(name)
      await until(systemClock, 'its processes are gone', patienceMs, () =>
        place.processes('engine', 'keeper').every(({ replicaId }) => replicaId !== id),
      )
    })

    /** SIGTERM from somebody who has not drained it: what runs ends well, what comes then it gives up. */
    async function toldByAnother(id: string): Promise<void> {
      const { pid } = place.processes('engine').find(({ replicaId }) => replicaId === id)!
      const running = await openai.chat.completions.create({ model: name, messages: words('slowly'), stream: true })
      const reasons: (string | null)[] = []
      for await (const { choices } of running) {
        if (reasons.push(choices[0]?.finish_reason ?? null) !== 3) continue
        process.kill(pid, 'SIGTERM')
        await until(systemClock, 'it gives up what comes', patienceMs, async () => {
          const last = chunksOf(await raw(name, { messages: words('hello') })).at(-1)
          return last.error?.code === 'engine_failed'
        })
      }
      assert.deepEqual(reasons.filter(Boolean), ['stop'])
    }

    it('one that cannot start says why, in its own last lines', async () => {
      const why = 'ValueError: No available memory for the cache blocks.'
      const path = model(type, `${type}-fails`, { loadMs: 10, warmupMs: 10, failsWith: why })
      const made = await server.deploy(`fails-${type}`, { model_id: path, engine: { type } })
      const failed = await server.when(made.id, 'has failed', ({ phase }) => phase === 'failed', patienceMs)
      assert.equal(failed.reason!.code, 'crash_loop', JSON.stringify(failed.reason))
      const { replicas } = await server.native.explainDeployment(made.id)
      assert.ok(
        replicas[0]!.exit!.last_lines.some((line) => line.includes(why)),
        JSON.stringify(replicas[0]!.exit),
      )
      await server.native.deleteDeployment(made.id)
    })

    it('what it must not be given is refused before anything starts', async () => {
      const path = pathOf(type, type)
      const engine = { type, additional_args: ['--middlew', 'a.b'] }
      const refused = await server.deploy('refused', { model_id: path, engine }).catch((error: unknown) => error)
      assert.ok(refused instanceof ApiError, String(refused))
      assert.equal(refused.status, 400)
      assert.match(refused.message, /engine\.additional_args: "--middlew" is not/)
      if (older === undefined) return
      const other = await server.deploy('other', { model_id: path, engine: { type, version: older } }).catch((e) => e)
      assert.ok(other instanceof ApiError, String(other))
      assert.match(other.message, /engine\.version: this server has (vLLM 0\.33\.0|SGLang 0\.5\.23), not /)
    })
  })

adaptersSuite({ place, hub, server: () => server })
