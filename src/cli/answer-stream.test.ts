import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Clock, systemClock } from '../runtime/clock.ts'
import { withoutAction } from '../wire/native/client.ts'
import { readAnswer } from './answer-stream.ts'
import { statsText } from './chat.ts'
import { Failure } from './failure.ts'

const usage = { prompt_tokens: 3, completion_tokens: 5, total_tokens: 8 }
const delta = (content: string) => `data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`
const ended = `data: ${JSON.stringify({ choices: [{ delta: {}, finish_reason: 'stop' }] })}\n\n`
const counted = `data: ${JSON.stringify({ choices: [], usage })}\n\n`

function response(pieces: Uint8Array[]): Response {
  return new Response(
    new ReadableStream({
      start(controller) {
        for (const piece of pieces) controller.enqueue(piece)
        controller.close()
      },
    }),
  )
}

test('the text is the same however the bytes are cut', async () => {
  const words = ['Grüße ', '日本', ' 👩‍🚀', '\n', 'end']
  const bytes = Buffer.from(`: held\n\n${words.map(delta).join('')}${ended}${counted}data: [DONE]\n\n`)
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: bytes.length }), { maxLength: 20 }), async (cuts) => {
      const edges = [0, ...cuts.toSorted((a, b) => a - b), bytes.length]
      const pieces = edges.slice(1).map((end, i) => bytes.subarray(edges[i], end))
      const heard: string[] = []
      const answer = await readAnswer(response(pieces), systemClock, systemClock.monotonicMs(), (text) =>
        heard.push(text),
      )
      assert.equal(heard.join(''), words.join(''))
      assert.equal(answer.text, words.join(''))
      assert.deepEqual([answer.finishReason, answer.usage], ['stop', usage])
    }),
    { numRuns: 50 },
  )
})

test('time to first token and speed are taken from the moments of the text', async () => {
  const moments = [40, 60, 80, 100, 120]
  const clock: Clock = { ...systemClock, monotonicMs: () => moments.shift() ?? 999 }
  const bytes = Buffer.from(['a', 'b', 'c', 'd', 'e'].map(delta).join('') + ended + counted)
  const answer = await readAnswer(response([bytes]), clock, 2, () => {})
  assert.equal(answer.ttftMs, 38)
  // Four tokens after the first one in 80 ms.
  assert.equal(answer.tokensPerSecond, 50)
  assert.equal(statsText(answer), 'first token 38 ms · 50 tokens/s · 5 tokens')
})

test('an error in the stream and a stream that is cut off are failures', async () => {
  const error = { error: { code: 'engine_failed', message: 'It died.', action: 'Again.' } }
  const cases: [string, string][] = [
    [`${delta('a')}event: error\ndata: ${JSON.stringify(error)}\n\n`, 'engine_failed'],
    [delta('a'), 'answer_cut'],
    ['data: {"choices"\n\n', 'bad_answer'],
  ]
  for (const [text, code] of cases)
    await assert.rejects(
      readAnswer(response([Buffer.from(text)]), systemClock, 0, () => {}),
      (thrown: unknown) => thrown instanceof Failure && thrown.code === code,
    )
})

test('what to do is said once, although the message of an inference route says it too', async () => {
  const error = { error: { code: 'engine_failed', message: 'It died. Ask again.', action: 'Ask again.' } }
  await assert.rejects(
    readAnswer(response([Buffer.from(`event: error\ndata: ${JSON.stringify(error)}\n\n`)]), systemClock, 0, () => {}),
    (thrown: unknown) => thrown instanceof Failure && thrown.message === 'It died.' && thrown.action === 'Ask again.',
  )
  assert.equal(withoutAction('It died.', ''), 'It died.')
  assert.equal(withoutAction('Ask again. It died.', 'Ask again.'), 'Ask again. It died.')
})

test('thoughts are told apart from the answer', async () => {
  const thought = `data: ${JSON.stringify({ choices: [{ delta: { reasoning_content: 'hm' } }] })}\n\n`
  const heard: string[] = []
  const answer = await readAnswer(
    response([Buffer.from(thought + delta('yes') + ended)]),
    systemClock,
    0,
    (text, kind) => heard.push(`${kind} ${text}`),
  )
  assert.deepEqual(heard, ['thought hm', 'answer yes'])
  assert.equal(answer.text, 'yes')
})
