/** What no client should send, over the public port: a clear answer each time, and a server that stays as it was. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { engineSample } from './engine-view.ts'
import { type Server, startServer } from './harness.ts'
import { Place } from './place.ts'
import { errorOf, nativePath, type RawAnswer, type RawRequest, send } from './raw.ts'

const wish = { name: 'good', model_id: 'paddock/starter', gpu_type: 'cpu' }
const chat = { model: 'good', messages: [{ role: 'user', content: 'Hello' }], max_tokens: 2 }
const chatPath = '/v1/chat/completions'
const createPath = `${nativePath}/deployments`
const elevenMegabytes = 11 * 1024 * 1024
const longAnswerTokens = 4_000

describe('bad input', () => {
  const place = new Place()
  let server: Server
  let id: string

  before(async () => {
    server = await startServer(place, { env: { PADDOCK_MODELS_ALLOW_PATHS: join(place.root, 'models') } })
    id = (await server.deploy('good')).id
    await server.active(id)
  })
  after(async () => {
    try {
      await server?.stop()
    } finally {
      await place.remove()
    }
  })

  /** The answer has this status and code, says what to do, and names what `names` says. */
  async function refused(ask: RawRequest, status: number, code: string, names?: RegExp): Promise<RawAnswer> {
    const answer = await send(server, ask)
    assert.equal(answer.status, status, answer.text)
    const error = errorOf(answer)
    assert.equal(error.code, code, answer.text)
    assert.ok(error.message.length > 10 && error.action.length > 10, answer.text)
    assert.match(answer.text, /"request_id":/)
    if (names) assert.match(answer.text, names)
    return answer
  }

  it('malformed JSON, on management and inference routes', async () => {
    for (const path of [
      createPath,
      chatPath,
      `${nativePath}/deployments/good/chat/completions`,
      `${nativePath}/api-keys`,
    ])
      for (const body of ['{"name": ', '[1,2', '{"a":1}}', 'nul', Buffer.from([0x7b, 0xff, 0xfe, 0x7d])])
        await refused({ path, body }, 400, 'invalid_json')
  })

  it('JSON that is no object', async () => {
    for (const path of [createPath, chatPath])
      for (const body of ['[]', '"text"', '7', 'null']) {
        const answer = await send(server, { path, body })
        assert.equal(answer.status, 400, `${path} ${body}: ${answer.text}`)
      }
  })

  it('a body of 11 MB: 413 on every kind of route, and the client can read it', async () => {
    const paths = [createPath, chatPath, `${nativePath}/deployments/${id}/chat/completions`, '/v1/completions']
    for (const path of paths) await refused({ path, body: Buffer.alloc(elevenMegabytes, 0x20) }, 413, 'body_too_large')
  })

  it('a body of 11 MB without a length', async () => {
    for (const path of [createPath, chatPath]) {
      const answer = await sendChunked(server, path, elevenMegabytes)
      assert.equal(answer.status, 413, answer.text)
    }
  })

  it('wrong types, each named', async () => {
    const create = (change: object) => ({ path: createPath, body: { ...wish, name: 'bad', ...change } })
    await refused(create({ replicas: '1' }), 400, 'invalid_request', /replicas/)
    await refused(create({ replicas: 1.5 }), 400, 'invalid_request', /replicas/)
    await refused(create({ name: 7 }), 400, 'invalid_request', /name/)
    await refused(create({ engine: [] }), 400, 'invalid_request', /engine/)
    await refused(create({ engine: { max_model_len: 'long' } }), 400, 'invalid_request', /max_model_len/)
    await refused(create({ color: 'blue' }), 400, 'unknown_field', /color/)
    await refused(create({ engine: { colour: 'blue' } }), 400, 'unknown_field', /colour/)
    await refused({ path: createPath, body: { name: 'bad' } }, 400, 'invalid_request', /model_id/)
    await refused({ path: `${nativePath}/api-keys`, body: { name: '' } }, 400, 'invalid_request', /name/)
    await refused({ path: `${nativePath}/api-keys`, body: { name: 'a', role: 'king' } }, 400, 'invalid_request', /role/)
  })

  it('wrong types towards the engine', async () => {
    for (const change of [
      { messages: 'Hello' },
      { messages: [] },
      { messages: [{ role: 'user', content: 7 }] },
      { messages: [{ role: 'emperor', content: 'Hello' }] },
      { max_tokens: 'many' },
      { max_tokens: -1 },
      { temperature: 'hot' },
      { stop: 5 },
    ]) {
      const answer = await send(server, { path: chatPath, body: { ...chat, ...change } })
      assert.equal(answer.status, 400, `${JSON.stringify(change)}: ${answer.status} ${answer.text}`)
    }
    await refused({ path: chatPath, body: { ...chat, stream: 'yes' } }, 400, 'invalid_request', /stream/)
    await refused({ path: chatPath, body: { ...chat, model: 7 } }, 400, 'invalid_request', /model/)
  })

  it('models that are not there', async () => {
    await refused({ path: chatPath, body: { ...chat, model: 'gpt-17' } }, 404, 'model_not_found', /gpt-17/)
    await refused({ path: chatPath, body: { messages: chat.messages } }, 400, 'invalid_request', /model/)
    await refused({ path: `${nativePath}/deployments/nobody/chat/completions`, body: chat }, 404, 'not_found')
    await refused(
      { path: createPath, body: { ...wish, name: 'bad', model_id: 'no-such-model' } },
      422,
      'model_not_supported',
    )
    await refused({ path: createPath, body: { ...wish, name: 'bad', gpu_type: 'abacus' } }, 422, 'gpu_type_unknown')
  })

  it('a name that is taken', async () => {
    await refused({ path: createPath, body: wish }, 409, 'name_taken', /good/)
  })

  it('a deployment that was deleted', async () => {
    const gone = await server.deploy('gone')
    await server.native.deleteDeployment('gone')
    for (const model of ['gone', gone.id])
      await refused({ path: chatPath, body: { ...chat, model } }, 404, 'model_not_found')
    await refused({ path: `${createPath}/gone` }, 404, 'not_found')
    await refused({ path: `${createPath}/${gone.id}/chat/completions`, body: chat }, 404, 'not_found')
    // Asked again, a delete changes nothing.
    const again = await server.native.deleteDeployment(gone.id)
    assert.equal(again.id, gone.id)
  })

  it('wrong keys', async () => {
    for (const path of [createPath, `${nativePath}/api-keys`, '/v1/models', '/metrics']) {
      await refused({ path, key: null }, 401, 'missing_key')
      await refused({ path, key: 'sk_wrong' }, 401, 'invalid_key')
      await refused({ path, key: null, headers: { authorization: 'Basic c2s6eA==' } }, 401, 'missing_key')
    }
    await refused({ path: chatPath, body: chat, key: null }, 401, 'missing_key')
    await refused({ path: chatPath, body: chat, key: 'sk_wrong' }, 401, 'invalid_key')
    const { secret } = await server.native.createKey({ name: 'reader', role: 'viewer' })
    await refused({ path: createPath, body: { ...wish, name: 'bad' }, key: secret }, 403, 'forbidden')
    await refused({ path: chatPath, body: chat, key: secret }, 403, 'forbidden')
  })

  it('names in all the world’s letters', async () => {
    for (const name of ['größe', '河', 'a b', 'A', 'a/b', '..', '', 'a'.repeat(64), 'a\u0000b', '🦙'])
      await refused({ path: createPath, body: { ...wish, name } }, 400, 'invalid_request', /name/)
    const key = await server.native.createKey({ name: 'Schlüssel für 河 🦙' })
    assert.equal(key.name, 'Schlüssel für 河 🦙')
    assert.ok((await server.native.listKeys({ limit: 100 })).data.some(({ name }) => name === key.name))
    await refused({ path: `${createPath}/${encodeURIComponent('河')}` }, 404, 'not_found')
    await refused({ path: `${createPath}/%E0%A4%A` }, 404, 'not_found')
    const answer = await send(server, {
      path: chatPath,
      body: { ...chat, messages: [{ role: 'user', content: '河 🦙 \ud800' }] },
    })
    assert.ok([200, 400].includes(answer.status), answer.text)
  })

  it('model paths that lead out of what is allowed', async () => {
    writeFileSync(join(place.root, 'secret.gguf'), 'GGUF')
    for (const model_id of [
      '/etc/passwd',
      join(place.root, 'secret.gguf'),
      `${place.root}/models/../secret.gguf`,
      '../../etc/passwd',
      'models/../../etc/passwd',
      `${place.dataFolder}/operator-key`,
      '/proc/self/environ',
      'paddock/../../../etc/passwd',
    ]) {
      const answer = await send(server, { path: createPath, body: { ...wish, name: 'bad', model_id } })
      assert.ok([400, 422].includes(answer.status), `${model_id}: ${answer.text}`)
      assert.ok(!answer.text.includes('root:'), 'nothing of the file is shown')
    }
    for (const path of ['/docs/api/../../../etc/passwd', '/docs/api/..%2f..%2f..%2fpackage.json', '/../etc/passwd']) {
      const answer = await send(server, { path })
      assert.equal(answer.status, 404, `${path}: ${answer.text.slice(0, 200)}`)
    }
  })

  it('fields that steer an engine', async () => {
    for (const field of ['id_slot', 'slot_id', 'cache_prompt', 'n_cache_reuse', 'lora', 'chat_template'])
      await refused(
        { path: chatPath, body: { ...chat, [field]: 'x' } },
        400,
        'engine_parameter_refused',
        new RegExp(field),
      )
  })

  it('routes and methods that are not there', async () => {
    await refused({ path: `${nativePath}/nothing` }, 404, 'route_not_found')
    await refused({ path: '/v1/nothing', body: {} }, 404, 'route_not_found')
    await refused({ path: chatPath }, 405, 'method_not_allowed')
    await refused({ path: createPath, method: 'PUT', body: {} }, 405, 'method_not_allowed')
  })

  it('half a request: the connection goes away, the server stays', async () => {
    for (const text of [
      'NONSENSE\r\n\r\n',
      'POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"model"',
      'GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    ])
      await sendAndLeave(server.port, text)
    assert.equal((await send(server, { path: '/readyz' })).status, 200)
  })

  it('a client that leaves in the middle of its stream: the engine stops, others are served', async () => {
    const engine = place.process('engine')
    const before = await engineSample(place)
    for (let round = 0; round < 3; round++) await streamAndLeave(server)
    const rested = await until(systemClock, 'the engine works for nobody', 60_000, async () => {
      const sample = await engineSample(place)
      return sample.running === 0 && sample.waiting === 0 ? sample : null
    })
    const generated = rested.generatedTokensTotal! - before.generatedTokensTotal!
    assert.ok(generated < longAnswerTokens, `${generated} tokens were made for nobody`)
    assert.equal((await send(server, { path: chatPath, body: chat })).status, 200)
    assert.equal(place.process('engine').pid, engine.pid)
  })

  it('after all of this: the same processes, the same deployment', async () => {
    const { data } = await server.native.listDeployments()
    assert.deepEqual(
      data.map(({ name, phase }) => [name, phase]),
      [['good', 'serving']],
    )
    assert.equal(server.run.output.includes('a part ended'), false, server.run.output)
    assert.equal((await send(server, { path: chatPath, body: chat })).status, 200)
  })
})

function sendChunked(server: Server, path: string, bytes: number): Promise<RawAnswer> {
  const headers = { authorization: `Bearer ${server.operatorKey}`, 'content-type': 'application/json' }
  return new Promise((resolve, reject) => {
    const call = request({ port: server.port, host: '127.0.0.1', method: 'POST', path, headers, agent: false })
    call.on('response', (answer) => {
      let text = ''
      answer.on('data', (chunk: Buffer) => (text += chunk.toString()))
      answer.on('end', () => resolve({ status: answer.statusCode!, headers: answer.headers, text }))
    })
    call.on('error', reject)
    const chunk = Buffer.alloc(64 * 1024, 0x20)
    let left = bytes
    const more = () => {
      if (left <= 0) return call.end()
      left -= chunk.length
      if (call.write(chunk)) setImmediate(more)
      else call.once('drain', more)
    }
    more()
  })
}

/** Sends, and hangs up when something comes back or nothing more can be sent. */
function sendAndLeave(port: number, text: string): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' }, () => socket.end(text))
    socket.on('data', () => socket.destroy())
    socket.on('error', () => {})
    socket.on('close', () => resolve())
  })
}

/** Reads the first event of a long stream and hangs up. */
function streamAndLeave(server: Server): Promise<void> {
  const body = { ...chat, stream: true, max_tokens: longAnswerTokens, ignore_eos: true }
  const headers = { authorization: `Bearer ${server.operatorKey}`, 'content-type': 'application/json' }
  return new Promise((resolve, reject) => {
    const call = request(
      { port: server.port, host: '127.0.0.1', method: 'POST', path: chatPath, headers, agent: false },
      (answer) => {
        answer.once('data', () => call.destroy())
        answer.once('error', () => {})
        answer.once('close', () => resolve())
      },
    )
    call.on('error', reject)
    call.end(JSON.stringify(body))
  })
}
