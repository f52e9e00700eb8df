import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { Fault } from '../../../kernel/fault.ts'
import { readChatRequest, readTextRequest, textTokensDefault } from './request.ts'
import { samplerConfig } from './sampling.ts'

const messages = [{ role: 'user', content: 'hi' }]
const chat = (over: object = {}) => readChatRequest({ messages, ...over })

function refusal(read: () => unknown): [code: string, param: unknown] {
  try {
    read()
  } catch (error) {
    if (error instanceof Fault) return [error.code, (error.detail as { param?: string } | undefined)?.param]
    throw error
  }
  return ['accepted', undefined]
}

test('defaults', () => {
  const request = chat()
  assert.deepEqual(request.input, { kind: 'chat', messages, tools: null, thinking: true })
  assert.deepEqual([request.maxTokens, request.stream, request.usage, request.ignoreEnd], [null, false, 'none', false])
  assert.deepEqual([request.sampling.temperature, request.sampling.topP, request.sampling.seed], [1, 1, null])
  assert.equal(readTextRequest({ prompt: 'x' }).maxTokens, textTokensDefault)
})

test('null is absent, harmless values pass, strangers are ignored', () => {
  const harmless = { n: 1, logprobs: false, tools: [], tool_choice: 'none', stop: null, seed: null, max_tokens: null }
  assert.equal(refusal(() => chat({ ...harmless, user: 'u', metadata: {}, store: true, whatever: [1] }))[0], 'accepted')
  assert.equal(refusal(() => readTextRequest({ prompt: ['one'], echo: false, best_of: 1, suffix: '' }))[0], 'accepted')
})

test('roles, text parts', () => {
  const parts = [
    { type: 'text', text: 'a' },
    { type: 'text', text: 'b' },
  ]
  const { input } = chat({ messages: [{ role: 'developer', content: parts }, ...messages] })
  assert.deepEqual(input.kind === 'chat' && input.messages, [{ role: 'system', content: 'a\nb' }, ...messages])
})

test('allowed_tools: the others are not there; a message that refused is what it said', () => {
  const tools = ['a', 'b', 'c'].map((name) => ({ type: 'function', function: { name } }))
  const use = (mode: string, names: string[]) => {
    const named = names.map((name) => ({ type: 'function', function: { name } }))
    const { input } = chat({ tools, tool_choice: { type: 'allowed_tools', allowed_tools: { mode, tools: named } } })
    assert.ok(input.kind === 'chat')
    return [input.tools!.choice, input.tools!.tools.map(({ name }) => name), input.tools!.parallel]
  }
  assert.deepEqual(use('required', ['c', 'a']), ['required', ['c', 'a'], true])
  assert.deepEqual(use('auto', ['b']), ['auto', ['b'], true])
  for (const [mode, names] of [
    ['none', ['a']],
    ['auto', []],
    ['auto', ['d']],
  ] as const)
    assert.deepEqual(
      refusal(() => use(mode, [...names])),
      ['invalid_request', 'tool_choice'],
    )
  const { input } = chat({ messages: [{ role: 'assistant', content: null, refusal: 'No.' }] })
  assert.ok(input.kind === 'chat' && input.messages[0]!.content === 'No.')
  assert.equal(refusal(() => chat({ messages: [{ role: 'assistant', content: null }] }))[1], 'messages')
})

test('each wrong or unsupported field by its name', () => {
  const cases: [object, string, string][] = [
    [{ messages: 'x' }, 'invalid_request', 'messages'],
    [{ messages: [null] }, 'invalid_request', 'messages'],
    [{ messages: [{ role: 'toString', content: 'x' }] }, 'invalid_request', 'messages'],
    [{ messages: [{ role: 'user', content: null }] }, 'invalid_request', 'messages'],
    [{ messages: [{ role: 'user', content: [{ type: 'text' }] }] }, 'invalid_request', 'messages'],
    [
      { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: {} }] }] },
      'engine_unsupported',
      'messages',
    ],
    [{ messages: [{ role: 'function', content: 'x' }] }, 'engine_unsupported', 'messages'],
    [{ messages: [{ role: 'assistant', content: 'x', tool_calls: [{}] }] }, 'invalid_request', 'messages'],
    [{ max_tokens: 1.5 }, 'invalid_request', 'max_tokens'],
    [{ max_completion_tokens: 0 }, 'invalid_request', 'max_completion_tokens'],
    [{ temperature: Number.NaN }, 'invalid_request', 'temperature'],
    [{ top_p: 2 }, 'invalid_request', 'top_p'],
    [{ seed: 1.5 }, 'invalid_request', 'seed'],
    [{ stop: [''] }, 'invalid_request', 'stop'],
    [{ stop: [1] }, 'invalid_request', 'stop'],
    [{ stream: 'yes' }, 'invalid_request', 'stream'],
    [{ stream_options: { include_usage: true } }, 'invalid_request', 'stream_options'],
    [{ logit_bias: { x: 1 } }, 'invalid_request', 'logit_bias'],
    [{ logit_bias: { 5: 101 } }, 'invalid_request', 'logit_bias'],
    [{ top_logprobs: 3 }, 'engine_unsupported', 'top_logprobs'],
    [{ tool_choice: 'required' }, 'invalid_request', 'tool_choice'],
    [{ response_format: { type: 'json_schema' } }, 'invalid_request', 'response_format'],
    [{ response_format: { type: 'json_object' }, ignore_eos: true }, 'invalid_request', 'ignore_eos'],
  ]
  for (const [over, code, param] of cases)
    assert.deepEqual(
      refusal(() => chat(over)),
      [code, param],
      JSON.stringify(over),
    )
  for (const body of [null, [], 'x', 5]) assert.equal(refusal(() => readChatRequest(body))[0], 'invalid_request')
  for (const prompt of [undefined, 5, [], [-1], [1.5], ['a', 'b'], ['a', 1], [[1], [2]]])
    assert.equal(refusal(() => readTextRequest({ prompt }))[1], 'prompt')
})

test('sampling in llama.cpp’s terms: nothing that changes nothing, seeds as 32 bits', () => {
  const config = (over: object) =>
    samplerConfig({ sampling: chat(over).sampling, freshSeed: 9, contextTokens: 100, never: [], grammarState: null })
  assert.deepEqual(config({}), { temperature: 1, seed: 9 })
  assert.deepEqual(config({ top_k: -1, top_p: 1, seed: -1 }), { temperature: 1, seed: 0xfffffffe })
  assert.equal(config({ seed: 2 ** 32 + 5 }).seed, 5)
  assert.deepEqual(config({ temperature: 0, top_k: 5, min_p: 0.1 }), { temperature: 0, seed: 9, topK: 5, minP: 0.1 })
  assert.equal(config({ frequency_penalty: 1 }).repeatPenaltyMaxTokens, 100)
  const banned = samplerConfig({
    sampling: chat({ logit_bias: { 3: 2 } }).sampling,
    freshSeed: 0,
    contextTokens: 1,
    never: [7],
    grammarState: null,
  })
  assert.deepEqual([...banned.tokenBiasKeys!], [3, 7])
  assert.deepEqual([...banned.tokenBiasValues!], [2, Number.NEGATIVE_INFINITY])
})
