import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { InferenceRoute } from '../../engines/contract.ts'
import { parseAsk } from '../parse.ts'
import { type Prompt, readPrompt } from './prompt.ts'

const read = (body: object, route: InferenceRoute = 'chat/completions', contextTokens = 0): Prompt =>
  readPrompt(parseAsk(Buffer.from(JSON.stringify(body))), {
    route,
    adapter: null,
    sessionId: null,
    contextTokens,
    usualAnswerTokens: 256,
  })
const shared = (a: Prompt, b: Prompt) => {
  let count = 0
  while (count < a.blocks.length && a.blocks[count] === b.blocks[count]) count += 1
  return count
}
const user = (content: unknown) => ({ role: 'user', content })
const text = 'The quick brown fox jumps over the lazy dog. '.repeat(60)

test('two turns share the blocks up to where the second goes on, whatever else the body says', () => {
  const messages = [{ role: 'system', content: text }, user(text)]
  const first = read({ model: 'a', messages })
  const second = read({
    temperature: 1,
    messages: [...messages, { role: 'assistant', content: 'Yes.' }, user('And?')],
    model: 'b',
  })
  assert.equal(shared(first, second), first.blocks.length)
  assert.equal(first.beginning, second.beginning)
  const changed = read({
    messages: [{ role: 'system', content: `${text.slice(0, 1500)}!${text.slice(1501)}` }, user(text)],
  })
  // 1500 characters in, behind 28 of JSON.
  assert.equal(shared(first, changed), 5)
  assert.equal(read({ tools: [{ type: 'function' }], messages }).blocks[0] === first.blocks[0], false)
})

test('the beginning is what the first person said, in every shape in which it can be said', () => {
  const plain = read({ messages: [{ role: 'system', content: 'one' }, user('hello')] }).beginning
  for (const messages of [
    [{ role: 'system', content: 'two' }, user('hello'), { role: 'assistant', content: 'hi' }, user('more')],
    [
      user([
        { type: 'image_url', image_url: { url: 'data:image/png;base64,AA' } },
        { type: 'text', text: 'hello' },
      ]),
    ],
  ])
    assert.equal(read({ messages }).beginning, plain)
  assert.equal(read({ prompt: 'hello' }, 'completions').beginning, plain)
  assert.equal(read({ prompt: ['hello', 'you'] }, 'completions').beginning, plain)
  assert.equal(read({ input: 'hello' }, 'responses').beginning, plain)
  assert.equal(read({ input: [{ role: 'user', content: 'hello' }] }, 'responses').beginning, plain)
})

test('bodies that say nothing, or nothing sensible, have no beginning and do no harm', () => {
  for (const messages of [[], null, 7, 'x'.repeat(0), [null], [[]], [{}], [{ role: 'user' }], [user(null)], {}])
    assert.equal(read({ messages }).beginning, 0, JSON.stringify(messages))
  assert.equal(read({ input: ['a', 'b'] }, 'embeddings').blocks.length, 0)
  assert.equal(read({ messages: [user(7)], user: 7, max_tokens: 'many' }).session, 0)
  for (const said of ['', null, 7, {}]) assert.equal(read({ messages: [], user: said }).session, 0)
})

test('how much work it is: bounded by the context, by what the request allows, and by what is usual', () => {
  const long = { messages: [user(text)] }
  assert.ok(read(long).tokens > 600 && read(long).tokens < 800)
  assert.equal(read(long, 'chat/completions', 512).tokens, 512)
  assert.equal(read({ ...long, max_tokens: 5 }).answerTokens, 5)
  assert.equal(read({ ...long, max_completion_tokens: 6, max_tokens: 5 }).answerTokens, 6)
  assert.equal(read({ ...long, max_tokens: 100_000 }).answerTokens, 256)
  const huge = read({ messages: [user('x'.repeat(2_000_000))] })
  assert.deepEqual([huge.tokens, huge.blocks.length], [131_072, 512])
})
