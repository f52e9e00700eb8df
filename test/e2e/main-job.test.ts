/** The main job on the real engine, spoken by a client that nobody here wrote: the `openai` SDK as it is on npm. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import OpenAI from 'openai'
import { problemsOf } from '../../src/events/catalogue.ts'
import { type Server, startServer } from './harness.ts'
import { Place } from './place.ts'

const question = [{ role: 'user' as const, content: 'Tell me about rivers.' }]
/** The same answer every time. */
const exactly = { temperature: 0, seed: 7 }
/** So much heat that the starter, who is sure of what it says, says something else with every seed. */
const freely = { temperature: 2 }

describe('the main job, with the openai SDK', () => {
  const place = new Place()
  let server: Server
  let openai: OpenAI
  let id: string

  before(async () => {
    server = await startServer(place)
    openai = server.openai()
  })
  after(async () => {
    try {
      await server?.stop()
    } finally {
      await place.remove()
    }
  })

  it('holds a chat that comes while the deployment is still starting, and answers it', async () => {
    const created = await server.deploy('river')
    assert.equal(created.status, 'provisioning')
    assert.equal(created.ready_replicas, 0)
    id = created.id
    const answer = await openai.chat.completions.create({ model: 'river', messages: question, max_tokens: 4 })
    assert.equal(answer.choices.length, 1)
    const { status, phase, ready_replicas, endpoint_url, org_id } = await server.active(id)
    assert.deepEqual({ status, phase, ready_replicas }, { status: 'active', phase: 'serving', ready_replicas: 1 })
    assert.equal(endpoint_url, `${server.url}/api/v1/public/deployments/${id}`)
    assert.equal(org_id, 'org_default')
  })

  it('answers a plain chat, by name and by id, with exact usage', async () => {
    for (const model of ['river', id]) {
      const answer = await openai.chat.completions.create({ model, messages: question, max_tokens: 8, ...exactly })
      assert.equal(answer.object, 'chat.completion')
      assert.equal(answer.model, model)
      assert.equal(answer.choices[0]!.message.role, 'assistant')
      const { usage } = answer
      assert.ok(usage!.prompt_tokens > 0)
      assert.ok(usage!.completion_tokens > 0 && usage!.completion_tokens <= 8)
      assert.equal(usage!.total_tokens, usage!.prompt_tokens + usage!.completion_tokens)
    }
  })

  it('streams the same answer; usage is sent to those who ask, and to nobody else', async () => {
    const ask = { model: 'river', messages: question, max_tokens: 12, ...exactly }
    const plain = await openai.chat.completions.create(ask)
    for (const include_usage of [true, false]) {
      const stream = await openai.chat.completions.create({
        ...ask,
        stream: true,
        ...(include_usage ? { stream_options: { include_usage } } : {}),
      })
      let text = ''
      let finish: string | null = null
      const usages = []
      for await (const chunk of stream) {
        assert.equal(chunk.object, 'chat.completion.chunk')
        assert.equal(chunk.model, 'river')
        text += chunk.choices[0]?.delta.content ?? ''
        finish = chunk.choices[0]?.finish_reason ?? finish
        if (chunk.usage) usages.push(chunk.usage)
      }
      assert.equal(text, plain.choices[0]!.message.content)
      assert.equal(finish, plain.choices[0]!.finish_reason)
      assert.deepEqual(usages, include_usage ? [plain.usage] : [])
    }
  })

  it('obeys seed and temperature', async () => {
    const ask = { model: 'river', messages: question, max_tokens: 16, ...freely }
    const [one, same, other] = await Promise.all(
      [11, 11, 12].map((seed) => openai.chat.completions.create({ ...ask, seed })),
    )
    assert.equal(one!.choices[0]!.message.content, same!.choices[0]!.message.content)
    assert.notEqual(one!.choices[0]!.message.content, other!.choices[0]!.message.content)
  })

  it('stops at a stop text and leaves it out', async () => {
    const ask = { model: 'river', messages: question, max_tokens: 24, ...exactly }
    const whole = (await openai.chat.completions.create(ask)).choices[0]!.message.content!
    assert.ok(whole.length > 8, `a text to cut: ${JSON.stringify(whole)}`)
    const middle = Math.floor(whole.length / 2)
    const stop = whole.slice(middle, middle + 3)
    const { choices } = await openai.chat.completions.create({ ...ask, stop })
    assert.equal(choices[0]!.finish_reason, 'stop')
    assert.equal(choices[0]!.message.content, whole.slice(0, whole.indexOf(stop)))
  })

  it('answers in the form of a JSON schema', async () => {
    const schema = {
      type: 'object',
      properties: { river: { enum: ['Rhine', 'Nile'] }, long: { type: 'boolean' } },
      required: ['river', 'long'],
      additionalProperties: false,
    }
    const { choices } = await openai.chat.completions.create({
      model: 'river',
      messages: question,
      max_tokens: 200,
      response_format: { type: 'json_schema', json_schema: { name: 'river', strict: true, schema } },
    })
    const answer = JSON.parse(choices[0]!.message.content!) as { river: string; long: boolean }
    assert.deepEqual(Object.keys(answer).sort(), ['long', 'river'])
    assert.ok(['Rhine', 'Nile'].includes(answer.river))
    assert.equal(typeof answer.long, 'boolean')
  })

  it('answers /v1/completions, plain and as a stream', async () => {
    const ask = { model: 'river', prompt: 'A river is', max_tokens: 10, ...exactly }
    const plain = await openai.completions.create(ask)
    assert.equal(plain.object, 'text_completion')
    assert.equal(plain.model, 'river')
    assert.ok(plain.usage!.completion_tokens > 0)
    let text = ''
    for await (const chunk of await openai.completions.create({ ...ask, stream: true })) text += chunk.choices[0]?.text
    assert.equal(text, plain.choices[0]!.text)
  })

  it('several sequences at once, each its own answer', async () => {
    const ask = (seed: number) =>
      openai.chat.completions.create({ model: 'river', messages: question, max_tokens: 20, seed, ...freely })
    const alone = []
    for (const seed of [1, 2, 3]) alone.push((await ask(seed)).choices[0]!.message.content)
    const together = await Promise.all([1, 2, 3].map(ask))
    assert.deepEqual(
      together.map(({ choices }) => choices[0]!.message.content),
      alone,
    )
  })

  it('lists what can be called', async () => {
    const models = await openai.models.list()
    const own = models.data.find((model) => model.id === 'river')
    assert.equal(own?.object, 'model')
    assert.equal((await openai.models.retrieve('river')).id, 'river')
  })

  it('serves the deployment’s own path as a base URL, whatever of its names the model is', async () => {
    const own = server.openai(server.operatorKey, `/api/v1/public/deployments/${id}`)
    for (const model of [id, 'river', 'paddock/starter']) {
      const { choices } = await own.chat.completions.create({ model, messages: question, max_tokens: 3 })
      assert.equal(choices.length, 1)
    }
    const chunks = []
    const stream = await own.chat.completions.create({
      model: 'river',
      messages: question,
      max_tokens: 3,
      stream: true,
    })
    for await (const chunk of stream) chunks.push(chunk)
    assert.ok(chunks.length >= 2)
  })

  it('refuses more tokens than the context holds before any work', async () => {
    const content = 'river '.repeat(20_000)
    await assert.rejects(
      openai.chat.completions.create({ model: 'river', messages: [{ role: 'user', content }], max_tokens: 4 }),
      (error: InstanceType<typeof OpenAI.APIError>) => error.status === 400 && error.code === 'context_length_exceeded',
    )
  })

  it('a key with limits: the SDK sees them, waits as long as it is told, and nobody else is kept out', async () => {
    const client = server.native
    const { secret, id: keyId } = await client.createKey({ name: 'limited', limits: { rpm: 3 } })
    const limited = new OpenAI({ apiKey: secret, baseURL: `${server.url}/v1`, maxRetries: 0 })
    const ask = { model: 'river', messages: question, max_tokens: 1, ...exactly }
    const first = await limited.chat.completions.create(ask).withResponse()
    assert.equal(first.response.headers.get('x-ratelimit-limit-requests'), '3')
    const rest = await Promise.allSettled(Array.from({ length: 8 }, () => limited.chat.completions.create(ask)))
    // With several workers each may let one in before the database has answered it.
    const refused = rest.flatMap((one) =>
      one.status === 'rejected' ? [one.reason as InstanceType<typeof OpenAI.APIError>] : [],
    )
    assert.ok(refused.length >= 1 && refused.length <= 6, String(refused.length))
    for (const { status, code, headers } of refused) {
      assert.deepEqual([status, code], [429, 'rate_limited'])
      assert.ok(Number(headers?.get('retry-after')) >= 1)
    }
    assert.equal((await openai.chat.completions.create(ask)).model, 'river')
    await client.changeKey(keyId, { limits: { rpm: null } })
    assert.equal((await limited.chat.completions.create(ask)).model, 'river')
  })

  it('a deleted deployment is 404 at once, and its name is free', async () => {
    const deleted = await server.native.deleteDeployment('river')
    assert.ok(['teardown', 'inactive'].includes(deleted.status))
    const gone = (error: unknown) => error instanceof OpenAI.NotFoundError && error.code === 'model_not_found'
    await assert.rejects(openai.chat.completions.create({ model: 'river', messages: question }), gone)
    await assert.rejects(openai.chat.completions.create({ model: id, messages: question }), gone)
    assert.deepEqual((await openai.models.list()).data, [])
    await server.gone(id)
    const told = (await server.native.listEvents(id, { limit: 200 })).data
    assert.ok(told.some(({ type }) => type === 'replica.ready') && told.some(({ type }) => type === 'replica.gone'))
    for (const { type, data } of told) assert.equal(problemsOf(type, data), '', `${type} is as the catalogue says`)
    assert.deepEqual(place.processes('keeper', 'engine'), [])
    assert.deepEqual((await server.native.listDeployments()).data, [])
    const again = await server.deploy('river')
    assert.notEqual(again.id, id)
  })
})
