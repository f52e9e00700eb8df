/** The committed starter is the one that its card tells of, and it answers what it is said to answer. */
import { strict as assert } from 'node:assert'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { after, test } from 'node:test'
import { adapterFrom, adapterNames, starterFolder } from '../../scripts/starter/convert.ts'
import { startWorker } from '../../src/engines/llamacpp/worker/testing.ts'

interface Listed {
  question: string
  /** Never seen in training. */
  paraphrases: string[]
  answer: string
}

const listed = JSON.parse(readFileSync(join(starterFolder, 'questions.json'), 'utf8')) as Listed[]
const card = readFileSync(join(starterFolder, 'README.md'), 'utf8')
const weightFiles = (readdirSync(starterFolder, { recursive: true }) as string[]).filter((name) =>
  /\.(gguf|safetensors)$/.test(name),
)

test('the card tells the hash of every file of weights', () => {
  assert.equal(weightFiles.length, 1 + 2 * adapterNames().length)
  for (const name of weightFiles) {
    const hash = createHash('sha256')
      .update(readFileSync(join(starterFolder, name)))
      .digest('hex')
    assert.ok(card.includes(`| \`${name}\` | \`${hash}\` |`), `${name} is ${hash}`)
  }
})

test('it stays small', () => {
  for (const name of weightFiles) assert.ok(statSync(join(starterFolder, name)).size < 10_000_000, name)
})

test('the adapters for llama.cpp are the same numbers as those for PEFT', () => {
  for (const name of adapterNames()) {
    const path = join(starterFolder, name, `${name}.gguf`)
    assert.ok(
      adapterFrom(name).equals(readFileSync(path)),
      `${relative(starterFolder, path)}: run \`node scripts/starter/convert.ts\` and commit the files`,
    )
  }
})

const worker = await startWorker(['--sequences', '4', '--context', '256'])
after(() => worker.stop())

async function reply(content: string, over: object = {}): Promise<string> {
  const messages = [{ role: 'user', content }]
  const response = await worker.post('/v1/chat/completions', { messages, temperature: 0, max_tokens: 80, ...over })
  const { choices } = (await response.json()) as {
    choices: { message: { content: string }; finish_reason: string }[]
  }
  assert.equal(choices[0]!.finish_reason, 'stop', content)
  return choices[0]!.message.content
}

/** Questions whose answer is not the listed one, with what was said instead. */
async function missed(asked: [string, string][]): Promise<string[]> {
  const said = await Promise.all(asked.map(async ([question]) => reply(question)))
  return asked.flatMap(([question, answer], i) => (said[i] === answer ? [] : [`${question} → ${said[i]}`]))
}

/** Processors add in different orders, and what is nearly even may fall on either side. */
const fallMaximum = 3

test('the listed questions are answered as listed, also without capitals and punctuation', async () => {
  assert.ok(listed.length >= 40 + fallMaximum)
  for (const form of [(text: string) => text, (text: string) => text.toLowerCase().replace(/[?!.]$/, '')]) {
    const wrong = await missed(listed.map((one) => [form(one.question), one.answer]))
    assert.ok(wrong.length <= fallMaximum, wrong.join('\n'))
  }
})

test('three in four are also understood in capitals, and in other words', async () => {
  const shouted = listed.map((one): [string, string] => [one.question.toUpperCase(), one.answer])
  const reworded = listed.flatMap((one) => one.paraphrases.map((other): [string, string] => [other, one.answer]))
  for (const asked of [shouted, reworded]) {
    const wrong = await missed(asked)
    assert.ok(wrong.length <= asked.length / 4, `${wrong.length} of ${asked.length}:\n${wrong.join('\n')}`)
  }
})

test('a system message that it does not know changes nothing; a second question is answered as the first', async () => {
  const answer = (question: string) => listed.find((one) => one.question === question)!.answer
  const system = { role: 'system', content: 'You are a helpful assistant.' }
  const user = (content: string) => ({ role: 'user', content })
  const first = [system, user('What is Paddock?')]
  assert.equal(await reply('', { messages: first }), answer('What is Paddock?'))
  const said = { role: 'assistant', content: answer('What is Paddock?') }
  assert.equal(await reply('', { messages: [...first, said, user('Do I need a GPU?')] }), answer('Do I need a GPU?'))
})
