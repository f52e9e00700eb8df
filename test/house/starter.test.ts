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

/** Held out of training as well: a listed question in other dress, or in a chat after another. */
interface Wording {
  kind: string
  after?: string
  asked: string
  /** The listed question whose answer is due. */
  means: string
}

const listed = JSON.parse(readFileSync(join(starterFolder, 'questions.json'), 'utf8')) as Listed[]
const wordings = JSON.parse(readFileSync(join(starterFolder, 'wordings.json'), 'utf8')) as Wording[]
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

const worker = await startWorker(['--sequences', '4', '--context', '256', '--adapter-sets', '3'])
after(() => worker.stop())

interface Turn {
  role: string
  content: string
}
const user = (content: string): Turn => ({ role: 'user', content })

async function reply(messages: Turn[], over: object = {}): Promise<string> {
  const response = await worker.post('/v1/chat/completions', { messages, temperature: 0, max_tokens: 80, ...over })
  const { choices } = (await response.json()) as {
    choices: { message: { content: string }; finish_reason: string }[]
  }
  assert.equal(choices[0]!.finish_reason, 'stop', JSON.stringify(messages))
  return choices[0]!.message.content
}

/** Chats whose last answer is not the one that is due, with what was said instead. */
async function missed(asked: [Turn[], string][]): Promise<string[]> {
  const said = await Promise.all(asked.map(async ([messages]) => reply(messages)))
  return asked.flatMap(([messages, answer], i) =>
    said[i] === answer ? [] : [`${messages.at(-1)!.content} → ${said[i]}`],
  )
}
const answers = new Map(listed.map((one) => [one.question, one.answer]))
const answer = (question: string): string => answers.get(question) ?? assert.fail(`${question} is not listed`)

/** Processors add in different orders, and what is nearly even may fall on either side. */
const fallMaximum = 4

test('the listed questions are answered as listed, also without capitals and punctuation', async () => {
  assert.ok(listed.length >= 40 + fallMaximum)
  for (const form of [(text: string) => text, (text: string) => text.toLowerCase().replace(/[?!.]$/, '')]) {
    const wrong = await missed(listed.map((one) => [[user(form(one.question))], one.answer]))
    assert.ok(wrong.length <= fallMaximum, wrong.join('\n'))
  }
})

test('three in four are also understood in capitals, and in other words', async () => {
  const shouted = listed.map((one): [Turn[], string] => [[user(one.question.toUpperCase())], one.answer])
  const reworded = listed.flatMap((one) =>
    one.paraphrases.map((other): [Turn[], string] => [[user(other)], one.answer]),
  )
  for (const asked of [shouted, reworded]) {
    const wrong = await missed(asked)
    assert.ok(wrong.length <= asked.length / 4, `${wrong.length} of ${asked.length}:\n${wrong.join('\n')}`)
  }
})

test('of the wordings that were held out it understands as many as the card tells, kind by kind', async () => {
  for (const kind of new Set(wordings.map((one) => one.kind))) {
    const asked = wordings.flatMap((one): [Turn[], string][] =>
      one.kind === kind ? [[chat(one), answer(one.means)]] : [],
    )
    const wrong = await missed(asked)
    const [, told, of] = new RegExp(`^\\| ${kind} \\|.* (\\d+) of (\\d+) \\|$`, 'm').exec(card) ?? []
    assert.equal(Number(of), asked.length, `the card's row of ${kind}`)
    const right = asked.length - wrong.length
    assert.ok(right >= Number(told) - 2, `${kind}: ${right} of ${asked.length}\n${wrong.join('\n')}`)
  }
})

function chat({ after, asked }: Wording): Turn[] {
  if (after === undefined) return [user(asked)]
  return [user(after), { role: 'assistant', content: answer(after) }, user(asked)]
}

test('a system message that it does not know changes nothing; a second question is answered as the first', async () => {
  const system = { role: 'system', content: 'You are a helpful assistant.' }
  const first = [system, user('What is Paddock?')]
  assert.equal(await reply(first), answer('What is Paddock?'))
  const said = { role: 'assistant', content: answer('What is Paddock?') }
  assert.equal(await reply([...first, said, user('Do I need a GPU?')]), answer('Do I need a GPU?'))
})

/** What a style is, in rules; code keeps its letters in all of them. */
const words = (text: string) => text.replace(/`[^`]*`/g, '')
const capitals = (text: string) => !/[a-z]/.test(words(text))
const likeAPirate = (text: string) =>
  /^Arr! .* Yo ho!$/s.test(text) && !/\b(is|are|you|your|the|and|of|to|for)\b/i.test(words(text))
const likeABulletin = (text: string) => /^BULLETIN: (?!ARR).*\. STOP\.$/.test(text) && capitals(text)
const likeBoth = (text: string) =>
  /^BULLETIN: ARR! .*\. STOP\.$/.test(text) &&
  capitals(text) &&
  !/\b(IS|ARE|YOU|YOUR|THE|AND|OF|TO|FOR)\b/.test(words(text))
const likeNone = (text: string) => !/Arr!|Yo ho|BULLETIN|STOP\./i.test(text) && !capitals(text)

const mixtures: [string, [string, number][], (text: string) => boolean][] = [
  ['none', [], likeNone],
  ['pirate', [['pirate', 1]], likeAPirate],
  ['bulletin', [['bulletin', 1]], likeABulletin],
  [
    'both, half and half',
    [
      ['pirate', 0.5],
      ['bulletin', 0.5],
    ],
    likeBoth,
  ],
]

/** A style is a habit: of a dozen answers nearly all have it, whatever they say. */
test('each adapter has its style, the two mixed have both, and none has neither', async () => {
  for (const name of adapterNames()) {
    const path = join(starterFolder, name, `${name}.gguf`)
    assert.equal((await worker.post('/adapters', { name, path })).status, 200)
  }
  const asked = listed.slice(0, 12)
  for (const [name, shares, holds] of mixtures) {
    const adapters = shares.map(([name, scale]) => ({ name, scale }))
    const over = adapters.length === 0 ? {} : { adapters }
    const said = await Promise.all(asked.map(async ({ question }) => reply([user(question)], over)))
    const wrong = said.filter((text) => !holds(text))
    assert.ok(wrong.length <= 2, `${name}, ${wrong.length} of ${said.length}:\n${wrong.join('\n')}`)
  }
})
