/** A call that the model begins by itself is held to its grammar from there on: the real llama.cpp, the starter. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import type { AnswerPart } from './answer.ts'
import type { Batcher, Run } from './batcher.ts'
import { type Engine, generate } from './generate.ts'
import { loadEngine } from './load.ts'
import { readChatRequest } from './request.ts'
import { starterPath } from './testing.ts'

const options = { model: starterPath, host: '', port: 0, servedName: '', contextTokens: 2048, sequences: 1 }
const rest = { threads: 1, adapterSets: 0, cacheTypeK: null, cacheTypeV: null, dieWithStdin: false }
const engine = await loadEngine({ ...options, ...rest }, { phase: () => {}, broken: (why) => assert.fail(why) })

/** The engine, but that its answers begin with this, as if the model had chosen it. */
function saying(text: string): Engine {
  const tokens = engine.model.handle.tokenize(text, false)
  const run = (work: Run) => {
    work.begin(0)
    for (const token of tokens) if (!work.token(token)) return Promise.resolve()
    const prompt = Uint32Array.from([...work.prompt, ...tokens])
    return engine.batcher.run({ ...work, prompt, begin: () => {} })
  }
  return { ...engine, batcher: { run } as unknown as Batcher }
}

const parameters = {
  type: 'object',
  properties: { n: { type: 'integer' } },
  required: ['n'],
  additionalProperties: false,
}
const tools = ['one', 'two'].map((name) => ({ type: 'function', function: { name, parameters } }))

async function answered(opening: string, over: object = {}) {
  const messages = [{ role: 'user', content: 'hello' }]
  const request = readChatRequest({ messages, tools, temperature: 1.5, seed: 11, max_tokens: 1_400, ...over })
  const parts: AnswerPart[] = []
  const { finish } = await generate(saying(opening), request, new AbortController().signal, {
    begun: () => {},
    token: (part) => parts.push({ ...part }),
  })
  const pieces = parts.flatMap(({ calls }) => calls)
  const calls = pieces.flatMap(({ index, begun }) => {
    const args = pieces.filter((one) => one.index === index).map((one) => one.arguments)
    return begun === undefined ? [] : [{ name: begun.name, arguments: args.join(''), pieces: args.length }]
  })
  return { finish, text: parts.map(({ text }) => text).join(''), calls }
}

test('begun by itself, it is a valid call, and nothing else follows', async () => {
  for (const opening of ['<tool_call>', 'So.\n<tool_call>\n', '<tool_call>{"name": "one", "argu']) {
    const { finish, text, calls } = await answered(opening)
    assert.equal(finish, 'tool_calls')
    assert.equal(text, opening.startsWith('So') ? 'So.' : '')
    for (const call of calls) {
      assert.match(call.name, /^(one|two)$/)
      assert.ok(Number.isInteger(JSON.parse(call.arguments).n), call.arguments)
    }
  }
  assert.equal((await answered('<tool_call>', { parallel_tool_calls: false })).calls.length, 1)
})

test('its arguments come in pieces', async () => {
  const [call] = (await answered('<tool_call>{"name": "one", "arguments": {')).calls
  assert.ok(call!.pieces > 2, JSON.stringify(call))
})

test('cut off before its arguments, what was said of it is text; in their middle, it is a call without its end', async () => {
  const early = await answered('<tool_call>', { max_tokens: 14 })
  assert.deepEqual([early.finish, early.calls.length, early.text.startsWith('<tool_call>')], ['length', 0, true])
  const opening = '<tool_call>{"name": "one", "arguments": {"n'
  const spent = engine.model.handle.tokenize(opening, false).length
  const late = await answered(opening, { max_tokens: spent })
  assert.deepEqual([late.finish, late.text], ['length', ''])
  assert.deepEqual(late.calls.map(({ name, arguments: args }) => [name, args]), [['one', '{"n']])
})
