/** LoRA adapters on the real llama.cpp: who answers, how many at once, and that nobody answers in an adapter's place. */
import { strict as assert } from 'node:assert'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { startHere, workerKey } from './testing.ts'
import { writeTestAdapter } from './testing-adapter.ts'

const folder = mkdtempSync(join(tmpdir(), 'paddock-adapters-'))
after(() => rmSync(folder, { recursive: true }))
const files = ['one', 'two', 'three'].map((name, seed) =>
  writeTestAdapter(join(folder, `${name}.gguf`), { seed: seed + 7 }),
)
const worker = await startHere(['--adapter-sets', '3', '--context', '512', '--sequences', '2'])
after(() => worker.stop())

interface Answer {
  status: number
  text: string
  error: { message: string; code: string }
}
async function ask(adapters?: unknown, over: object = {}): Promise<Answer> {
  const messages = [{ role: 'user', content: 'hello there' }]
  const body = {
    messages,
    temperature: 0,
    max_tokens: 24,
    ignore_eos: true,
    ...over,
    ...(adapters ? { adapters } : {}),
  }
  const response = await worker.post('/v1/chat/completions', body)
  const { choices, error } = (await response.json()) as {
    choices?: { message: { content: string } }[]
    error: Answer['error']
  }
  return { status: response.status, text: choices?.[0]?.message.content ?? '', error }
}
const share = (name: string, scale = 1) => ({ name, scale })
const load = (name: string, path: string) => worker.post('/adapters', { name, path })
const unload = (name: string) => worker.post(`/adapters/${name}`, '', { method: 'DELETE', body: null })

test('two adapters, their mixture and the base answer differently, each the same every time', async () => {
  const base = await ask()
  assert.equal((await load('one', files[0]!)).status, 200)
  assert.equal((await load('two', files[1]!)).status, 200)
  assert.equal((await load('two', files[1]!)).status, 200, 'a second time changes nothing')
  const mixes = [[share('one')], [share('two')], [share('one', 0.7), share('two', 0.3)]]
  const once = await Promise.all(mixes.map((mix) => ask(mix)))
  assert.equal(new Set([base, ...once].map(({ text }) => text)).size, 4)
  const again = await Promise.all([...mixes.map((mix) => ask(mix)), ask()])
  assert.deepEqual(
    again.map(({ text }) => text),
    [...once, base].map(({ text }) => text),
  )
})

test('one that is not loaded is refused, never answered by the model itself', async () => {
  for (const name of ['nobody', '']) {
    const { status, error } = await ask([share(name)])
    assert.deepEqual([status, error.code], [503, 'unavailable'])
  }
  for (const wrong of [[], 'one', [{ name: 'one' }], [null], Array(17).fill(share('one'))])
    assert.equal((await ask(wrong)).status, 400)
})

test('mixtures give way to each other; an adapter keeps its place; what has none is told so', async () => {
  for (const scale of [0.1, 0.2, 0.3]) assert.equal((await ask([share('one', scale)])).status, 200)
  const third = await load('three', files[2]!)
  assert.equal(third.status, 200, 'a mixture gave way')
  const { status, error } = await ask([share('one', 0.4)])
  assert.deepEqual([status, error.code], [400, 'engine_unsupported'])
  assert.match(error.message, /at most 3 adapters and mixtures/)
  assert.equal((await load('four', files[2]!)).status, 400)
  assert.equal((await unload('three')).status, 200)
  assert.equal((await ask([share('one', 0.4)])).status, 200)
})

test('unloading: new requests are refused at once, the one under way goes on to its end', async () => {
  const long = ask([share('two')], { max_tokens: 400 })
  while ((await worker.metric('vllm:num_requests_running')) === 0);
  assert.equal((await unload('two')).status, 200)
  assert.equal((await ask([share('two')])).status, 503)
  assert.equal((await long).status, 200)
  assert.equal((await load('two', files[1]!)).status, 200)
  assert.equal((await ask([share('two')])).status, 200)
})

test('files that are no adapter of this model are refused, and the engine serves on', async () => {
  writeFileSync(join(folder, 'text.gguf'), 'GGUF?')
  const other = writeTestAdapter(join(folder, 'other.gguf'), { seed: 3, inputs: 32 })
  for (const path of [join(folder, 'none.gguf'), join(folder, 'text.gguf'), other]) {
    const refused = await load('wrong', path)
    assert.equal(refused.status, 422)
    assert.doesNotMatch(await refused.text(), /paddock-adapters/)
  }
  assert.equal((await load('../x', files[0]!)).status, 400)
  assert.equal((await fetch(`${worker.url}/adapters`)).status, 401)
  const listed = await fetch(`${worker.url}/adapters`, { headers: { authorization: `Bearer ${workerKey}` } })
  assert.deepEqual(await listed.json(), { adapters: ['one', 'two'] })
  assert.equal((await ask([share('one')])).status, 200)
})
