/**
 * llama-server's launch lines, read by what stands in for it under the real local driver: all that the driver writes is
 * understood, what nobody knows ends it, the key is nowhere to be read, and adapters of the line are asked for one by one.
 */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, it } from 'node:test'
import { TestFleet } from '../../src/compute/local/testing/fleet.ts'
import { presets } from '../../src/deployments/presets.ts'
import type { EngineAdapter } from '../../src/engines/contract.adapters.ts'
import type { EngineSpec, ModelFiles } from '../../src/engines/contract.ts'
import { llamaServer as driver } from '../../src/engines/llamacpp/server.ts'
import { placeGguf, placePrograms } from './programs.ts'

const fleet = new TestFleet()
const path = placeGguf(join(fleet.base, 'models', 'm'), { loadMs: 30, warmupMs: 0 })
const model: ModelFiles = { modelId: 'hf/m', format: 'gguf', path, sizeBytes: 1, contextSize: 4096 }
const apiKey = 'a-key-of-the-test'
const pathBefore = process.env.PATH

before(() => {
  process.env.PATH = placePrograms(fleet.base)
})
after(async () => {
  process.env.PATH = pathBefore
  await fleet.dispose()
})

const order = (over: Partial<EngineSpec>, adapters: readonly EngineAdapter[]) =>
  fleet.order([], {
    model,
    launch: (host) =>
      driver.launch({
        spec: { type: driver.type, additionalArgs: [], ...over },
        model,
        host: { ...host, modelPath: path },
        servedName: 'hf/m',
        apiKey,
        adapters,
      }),
  })

async function ready(over: Partial<EngineSpec> = {}, adapters: readonly EngineAdapter[] = []) {
  const asked = order(over, adapters)
  await fleet.local.create(asked)
  const running = await fleet.running(asked.id)
  await fleet.until('it is ready', async () => {
    const answer = await fetch(running.url + driver.healthPath).catch(() => null)
    return driver.readiness(answer?.status ?? null, (await answer?.text()) ?? '').state === 'ready'
  })
  return running
}

const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' }
const post = (url: string, body: object) => fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })

it('understands the line of every preset, and its context is each slot’s', async () => {
  const specs = Object.values(presets).map(({ tuning }) => ({ tuning, maxModelLen: 2048 }))
  const all = await Promise.all(specs.map((spec) => ready(spec)))
  for (const { url } of all) {
    const { data } = (await (await fetch(`${url}/v1/models`, { headers })).json()) as {
      data: { meta: { n_ctx: number } }[]
    }
    assert.equal(data[0]!.meta.n_ctx, 2048)
  }
  await Promise.all(all.map(({ id }) => fleet.deleted(id)))
})

it('says that it loads while it loads, on every route', async () => {
  const slow = placeGguf(join(fleet.base, 'models', 'slow'), { loadMs: 600_000 })
  const asked = order({}, [])
  const { launch } = asked
  await fleet.local.create({
    ...asked,
    launch: (host) => {
      const made = launch(host)
      return { ...made, argv: made.argv.map((word) => (word === path ? slow : word)) }
    },
  })
  const { url } = await fleet.running(asked.id)
  for (const at of ['/health', '/v1/models']) {
    let answer: Response | null = null
    await fleet.until('it listens', async () => {
      answer = await fetch(url + at, { headers }).catch(() => null)
      return answer !== null
    })
    const { status } = answer!
    const body = await (answer! as Response).text()
    assert.deepEqual(driver.readiness(status, body), { state: 'not_ready', phase: 'load', detail: 'loading' })
  }
  await fleet.deleted(asked.id)
})

it('ends at what it does not know, and says what that was', async () => {
  for (const [word, said] of [
    ['--no-such-thing', /invalid argument: --no-such-thing/],
    ['--cache-type', /invalid argument: --cache-type/],
  ] as const) {
    const asked = order({ additionalArgs: [word] }, [])
    await fleet.local.create(asked)
    const exit = await fleet.exited(asked.id)
    assert.equal(exit.code, 1)
    assert.match(exit.lastLines.join('\n'), said)
    await fleet.deleted(asked.id)
  }
})

it('its key is not in its command line, and its port asks for it', async () => {
  const { id, engine, url } = await ready()
  if (process.platform === 'linux') assert.ok(!readFileSync(`/proc/${engine.pid}/cmdline`, 'latin1').includes(apiKey))
  const asking = (key: string) => fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })
  assert.deepEqual([(await asking('other')).status, (await asking(apiKey)).status], [401, 200])
  assert.equal((await fetch(`${url}/metrics`)).status, 401)
  const text = await (await fetch(`${url}/metrics`, { headers })).text()
  assert.deepEqual(driver.metrics(text), { running: 0, waiting: 0, promptTokensTotal: 0, generatedTokensTotal: 0 })
  assert.equal((await fetch(`${url}/slots`, { headers })).status, 501, 'nobody reads what others asked')
  await fleet.deleted(id)
})

it('adapters of its line: nobody gets one unasked; each and a mixture of them by their numbers', async () => {
  const made = ['one', 'two'].map((engineName) => {
    const file = join(fleet.base, `${engineName}.gguf`)
    writeFileSync(file, 'an adapter')
    return { engineName, path: file, rank: 8 }
  })
  const { id, url } = await ready({}, made)
  const adapters = driver.adapters!
  const list = await fetch(url + adapters.list.path, { headers })
  const listed = adapters.listed(
    [...made, { engineName: 'gone', path: '/gone', rank: 8 }],
    list.status,
    await list.text(),
  )!
  assert.deepEqual(
    [...listed],
    [
      ['one', '0'],
      ['two', '1'],
    ],
  )
  const said = async (shares: [string, number][]) => {
    const { model: name, members } = adapters.ask(
      shares.map(([engineName, scale]) => ({ handle: listed.get(engineName)!, scale })),
      'hf/m',
    )
    const messages = [{ role: 'user', content: 'hello' }]
    const answer = await post(`${url}/v1/chat/completions`, {
      model: name,
      messages,
      ...(shares.length > 0 ? members : {}),
    })
    const { choices } = (await answer.json()) as { choices: { message: { content: string } }[] }
    return choices[0]!.message.content.replace(/ word1.*/, '')
  }
  assert.equal(await said([]), 'Simulated')
  assert.equal(await said([['two', 1]]), 'Simulated with two.gguf@1')
  assert.equal(
    await said([
      ['one', 0.7],
      ['two', 0.3],
    ]),
    'Simulated with one.gguf@0.7+two.gguf@0.3',
  )
  await fleet.deleted(id)
})

it('vectors only where its line says so', async () => {
  const [without, unpooled, pooled] = await Promise.all([
    ready(),
    ready({ additionalArgs: ['--embeddings'] }),
    ready({ additionalArgs: ['--embeddings', '--pooling', 'mean'] }),
  ])
  const asked = await Promise.all(
    [without, unpooled, pooled].map(({ url }) => post(`${url}/v1/embeddings`, { input: 'a' })),
  )
  assert.deepEqual(
    asked.map(({ status }) => status),
    [501, 400, 200],
  )
  await Promise.all([without, unpooled, pooled].map(({ id }) => fleet.deleted(id)))
})
