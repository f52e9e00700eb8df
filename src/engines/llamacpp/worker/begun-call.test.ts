/** A call that the model begins by itself is held to its grammar from there on: the real llama.cpp, the starter. */
import { strict as assert } from 'node:assert'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { AnswerPart } from './answer.ts'
import type { Batcher, Run } from './batcher.ts'
import { type Engine, generate } from './generate.ts'
import { loadEngine } from './load.ts'
import { readChatRequest } from './request.ts'
import { starterPath } from './testing.ts'
import { writeTestModel } from './testing-model.ts'

const folder = mkdtempSync(join(tmpdir(), 'paddock-begun-'))
after(() => rmSync(folder, { recursive: true }))
const bareModel = writeTestModel(join(folder, 'bare.gguf'), {
  chatTemplate: '{{ tools | tojson }}{% for m in messages %}{{ m.content }}\n{% endfor %}{# ipython "parameters" #}',
})
const tagged = await engineOf(starterPath)
const bare = await engineOf(bareModel)

function engineOf(model: string): Promise<Engine> {
  const options = { model, host: '', port: 0, servedName: '', contextTokens: 2048, sequences: 1 }
  const rest = { threads: 1, adapterSets: 0, cacheTypeK: null, cacheTypeV: null, dieWithStdin: false }
  return loadEngine({ ...options, ...rest }, { phase: () => {}, broken: (why) => assert.fail(why) })
}

/** The engine, but that its answers begin with this, as if the model had chosen it. */
function saying(engine: Engine, text: string): Engine {
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

async function answered(opening: string, over: object = {}, engine = tagged) {
  const messages = [{ role: 'user', content: 'hello' }]
  const request = readChatRequest({
    messages,
    tools,
    temperature: 1.5,
    seed: 11,
    max_tokens: 600,
    parallel_tool_calls: false,
    ...over,
  })
  const parts: AnswerPart[] = []
  const { finish } = await generate(saying(engine, opening), request, new AbortController().signal, {
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
  for (const opening of ['<tool_call>', 'So.\n<tool_call>\n']) {
    const { finish, text, calls } = await answered(opening, { temperature: 0, parallel_tool_calls: true })
    assert.equal(finish, 'tool_calls')
    assert.equal(text, opening.startsWith('So') ? 'So.' : '')
    for (const call of calls) {
      assert.match(call.name, /^(one|two)$/)
      assert.ok(Number.isInteger(JSON.parse(call.arguments).n), call.arguments)
    }
  }
  assert.equal((await answered('<tool_call>')).calls.length, 1)
})

test('an answer that turns out to be one is held to the grammar from there, whatever was said of it; in pieces', async () => {
  for (const opening of ['{"name": "one", "parameters": {', ' {\n"name": "two", "parameters":{']) {
    const { finish, text, calls } = await answered(opening, {}, bare)
    assert.deepEqual([finish, text, calls.length], ['tool_calls', '', 1])
    assert.ok(Number.isInteger(JSON.parse(calls[0]!.arguments).n), calls[0]!.arguments)
    assert.ok(calls[0]!.pieces > 2, JSON.stringify(calls))
  }
})

test('cut off before its arguments, what was said of it is text; in their middle, it is a call without its end', async () => {
  const early = await answered('<tool_call>', { max_tokens: 14 })
  assert.deepEqual([early.finish, early.calls.length, early.text.startsWith('<tool_call>')], ['length', 0, true])
  const opening = '<tool_call>{"name": "one", "arguments": {"n'
  const spent = tagged.model.handle.tokenize(opening, false).length
  const late = await answered(opening, { max_tokens: spent })
  assert.deepEqual([late.finish, late.text], ['length', ''])
  assert.deepEqual(
    late.calls.map(({ name, arguments: args }) => [name, args]),
    [['one', '{"n']],
  )
})
