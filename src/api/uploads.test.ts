/** Models that organisations upload: the form, what becomes of it, and everything that is wrong with a request. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, beforeEach, test } from 'node:test'
import { starterFile, tinyGguf, uploadForm } from '../models/uploads/testing.ts'
import { type Answer, makeWorld, type World, wish } from './testing.ts'

const limits = { fileBytes: 8_000_000, orgBytes: 12_000_000, keptMs: 3_600_000 }
let world: World
before(async () => {
  world = await makeWorld({}, { uploads: { limits } })
})
after(() => world.close())
beforeEach(async () => {
  for (const key of [world.keys.ownerA, world.keys.ownerB])
    for (const { id } of await world.options.uploads.list(await principal(key)))
      await upload('DELETE', `/byom/${id}`, undefined, key)
  await world.uploads.loop.settle()
  assert.deepEqual(world.uploads.stored(), [])
})

const principal = (key: string) => world.options.access.authenticate(`Bearer ${key}`, undefined)

function upload(method: string, path: string, body?: unknown, key = world.keys.ownerA): Promise<Answer> {
  return world.call(method, `/models${path}`, { key, ...(body === undefined ? {} : { body }) })
}

async function ready(name: string, file?: Buffer): Promise<Answer> {
  const sent = await upload('POST', '/upload', uploadForm(name, file))
  assert.equal(sent.status, 201, sent.text)
  await world.uploads.loop.settle()
  return upload('GET', `/byom/${sent.json.id}`)
}

test('an upload is validating, then ready; its hash, size and header are told; deleted, nothing stays', async () => {
  const file = starterFile()
  const sent = await upload('POST', '/upload', uploadForm('my-model-v2', file))
  assert.equal(sent.status, 201, sent.text)
  assert.equal(sent.json.name, 'my-model-v2')
  assert.equal(sent.json.status, 'validating')
  await world.uploads.loop.settle()
  const { json } = await upload('GET', `/byom/${sent.json.id}`)
  assert.equal(json.status, 'ready')
  assert.equal(json.sha256, createHash('sha256').update(file).digest('hex'))
  assert.deepEqual([json.size_bytes, json.received_bytes], [file.length, file.length])
  assert.deepEqual([json.architecture, json.kind, json.model_id], ['llama', 'model', 'byom:my-model-v2'])
  assert.deepEqual(world.uploads.stored(), [`${json.id}.gguf`])
  const listed = (await world.call('GET', '/models')).json.data.find((one: { id: string }) => one.id === json.model_id)
  assert.deepEqual([listed.deployable, listed.added_by], [true, 'upload'])
  const theirs = (await world.call('GET', '/models', { key: world.keys.ownerB })).text
  assert.doesNotMatch(theirs, /my-model-v2/)
  assert.equal((await upload('DELETE', `/byom/${json.id}`)).status, 200)
  assert.equal((await upload('GET', `/byom/${json.id}`)).status, 404)
  await world.uploads.loop.settle()
  assert.deepEqual(world.uploads.stored(), [])
})

test('the parts may come in any order, and by the id or the name it is found again', async () => {
  const form = new FormData()
  form.set('name', 'first-named')
  form.set('file', new Blob([tinyGguf() as Uint8Array<ArrayBuffer>]), 'x')
  assert.equal((await upload('POST', '/upload', form)).status, 201)
  assert.equal((await upload('GET', '/byom/first-named')).json.name, 'first-named')
})

test('what is wrong with a form is said by name, and nothing of it stays', async () => {
  const file = () => new Blob([tinyGguf() as Uint8Array<ArrayBuffer>])
  const form = (...parts: [string, string | Blob][]) => {
    const made = new FormData()
    for (const [name, value] of parts) made.append(name, value)
    return made
  }
  const bad = (mutate: (bytes: Buffer) => void) => {
    const bytes = tinyGguf()
    mutate(bytes)
    return new Blob([bytes as Uint8Array<ArrayBuffer>])
  }
  for (const [sent, status, code, says] of [
    [form(['name', 'a']), 400, 'invalid_request', /file: is missing/],
    [form(['file', file()]), 400, 'invalid_request', /name: is missing/],
    [form(['file', 'a text'], ['name', 'a']), 400, 'invalid_request', /file: is a text/],
    [form(['name', 'a'], ['name', 'b'], ['file', file()]), 400, 'invalid_request', /name: is there more than once/],
    [form(['file', file()], ['file', file()], ['name', 'a']), 400, 'invalid_request', /more than one file/],
    [form(['name', 'Größe'], ['file', file()]), 400, 'invalid_request', /name: "Größe" is not a name/],
    [form(['name', '模型'], ['file', file()]), 400, 'invalid_request', /not a name for a model/],
    [form(['name', ''], ['file', file()]), 400, 'invalid_request', /not a name/],
    [form(['name', '../etc'], ['file', file()]), 400, 'invalid_request', /not a name/],
    [form(['file', file()], ['name', '..']), 400, 'invalid_request', /not a name/],
    [form(['file', file()], ['name', 'a/b']), 400, 'invalid_request', /not a name/],
    [form(['file', file()], ['deployment_id', '../x'], ['name', 'a']), 404, 'not_found', /no deployment/],
    [form(['name', 'a:b'], ['file', file()]), 400, 'invalid_request', /not a name/],
    [form(['name', 'x'.repeat(64)], ['file', file()]), 400, 'invalid_request', /1 to 63/],
    [form(['name', 'x'.repeat(5000)], ['file', file()]), 400, 'invalid_request', /longer than 1024/],
    [form(['title', 'x'], ['name', 'a'], ['file', file()]), 400, 'unknown_field', /"title"/],
    [form(['model', file()], ['name', 'a']), 400, 'unknown_field', /"model" is not a file/],
    [form(['deployment_id', 'dep_nowhere'], ['name', 'a'], ['file', file()]), 404, 'not_found', /dep_nowhere/],
    [form(['name', 'a'], ['file', new Blob([])]), 422, 'model_file_unreadable', /ends inside its header/],
    [form(['name', 'a'], ['file', bad((b) => b.write('GGML'))]), 422, 'model_file_unreadable', /does not begin/],
    [form(['name', 'a'], ['file', file().slice(0, -1)]), 422, 'model_file_unreadable', /cut off/],
    [form(['name', 'a'], ['file', new Blob([file(), 'x'])]), 422, 'model_file_unreadable', /goes on after/],
    [uploadForm('a', tinyGguf({ 'general.type': 'mmproj' })), 422, 'model_not_supported', /"mmproj"/],
    [uploadForm('a', tinyGguf({ 'split.count': 3 })), 422, 'model_not_supported', /one part of a model/],
    [
      uploadForm('a', tinyGguf({ 'general.base_model.0.repo_url': 'https://hub.example/Qwen/Qwen3-8B' })),
      422,
      'model_not_supported',
      /rests on qwen\/qwen3-8b.*itself "llama"/i,
    ],
    [
      uploadForm('a', tinyGguf({ 'general.architecture': 'bert' })),
      422,
      'model_file_unreadable',
      /bert.context_length/,
    ],
    [uploadForm('a', tinyGguf({}, 8_100_000)), 413, 'body_too_large', /8000000 bytes/],
  ] as const) {
    const answer = await upload('POST', '/upload', sent)
    assert.equal(answer.status, status, answer.text)
    assert.equal(answer.json.error.code, code)
    assert.match(answer.json.error.message, says)
    await world.uploads.loop.settle()
    assert.deepEqual(world.uploads.stored(), [], answer.text)
    assert.deepEqual((await world.options.uploads.list(await principal(world.keys.ownerA))).length, 0)
  }
})

test('what is no form is refused', async () => {
  for (const [headers, status] of [
    [{ 'content-type': 'application/json' }, 415],
    [{ 'content-type': 'application/octet-stream' }, 415],
    [{ 'content-type': 'multipart/form-data' }, 415],
    [{ 'content-type': 'multipart/form-data; charset=utf-8' }, 400],
  ] as const) {
    const answer = await world.call('POST', '/models/upload', { body: '{}', headers })
    assert.equal(answer.status, status, answer.text)
  }
  const cut = '--b\r\ncontent-disposition: form-data; name="name"\r\n\r\na'
  const headers = { 'content-type': 'multipart/form-data; boundary=b' }
  const answer = await world.call('POST', '/models/upload', { body: cut, headers })
  assert.deepEqual([answer.status, answer.json.error.code], [400, 'invalid_request'], answer.text)
})

test('a file of unannounced length may be as long as the limit, and not a byte longer', async () => {
  const form = async (bytes: number) => {
    const { body, headers } = new Response(uploadForm('long', tinyGguf({}, bytes)))
    // As with Transfer-Encoding: chunked.
    return world.call('POST', '/models/upload', {
      body: body!,
      headers: { 'content-type': headers.get('content-type')! },
    })
  }
  const over = await form(8_100_000)
  assert.deepEqual([over.status, over.json.error.code], [413, 'body_too_large'], over.text)
  await world.uploads.loop.settle()
  assert.deepEqual(world.uploads.stored(), [])
  assert.equal((await form(7_900_000)).status, 201)
})

test('a client that leaves in the middle of its form leaves nothing, also when the database is away then', async () => {
  const part = '--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n'
  const leaving = () => {
    const pieces = [Buffer.from(part), tinyGguf({}, 4_000_000).subarray(0, 3_000_000)]
    return new ReadableStream({
      pull: (controller) => {
        const piece = pieces.shift()
        if (piece === undefined) controller.error(new Error('gone'))
        else controller.enqueue(piece)
      },
    })
  }
  const headers = { 'content-type': 'multipart/form-data; boundary=b' }
  const { context, loop } = world.uploads
  const { db } = context
  for (const isAway of [false, true]) {
    // What it would have written at the end of a broken form.
    if (isAway)
      context.db = {
        ...db,
        run: (sql, values) => (/deleting/.test(sql) ? Promise.reject(new Error('away')) : db.run(sql, values)),
      }
    const answer = await world.call('POST', '/models/upload', { body: leaving(), headers })
    context.db = db
    assert.deepEqual([answer.status, answer.json.error.code], [499, 'client_closed'], answer.text)
    await loop.settle()
    assert.deepEqual(world.uploads.stored(), [])
    assert.deepEqual(await world.db.query(`select id from uploads where status = 'uploading'`), [])
  }
})

test('limit and quota are checked before anything is read', async () => {
  const never = new ReadableStream({ pull: () => new Promise(() => {}) })
  const headers = (length: number) => ({
    'content-type': 'multipart/form-data; boundary=b',
    'content-length': String(length),
  })
  const large = await world.call('POST', '/models/upload', { body: never, headers: headers(12_000_000) })
  assert.deepEqual([large.status, large.json.error.code], [413, 'body_too_large'], large.text)
  await ready('half', tinyGguf({}, 6_000_000))
  const more = new ReadableStream({ pull: () => new Promise(() => {}) })
  const over = await world.call('POST', '/models/upload', { body: more, headers: headers(6_800_000) })
  assert.deepEqual([over.status, over.json.error.code], [409, 'quota_exceeded'], over.text)
  assert.equal(over.json.error.detail.quota_bytes, limits.orgBytes)
  // What another organisation keeps counts for itself.
  assert.equal(
    (await upload('POST', '/upload', uploadForm('b', tinyGguf({}, 6_000_000)), world.keys.ownerB)).status,
    201,
  )
})

test('a name is taken once per organisation, also by several at once; free again when it is deleted', async () => {
  const answers = await Promise.all(Array.from({ length: 6 }, () => upload('POST', '/upload', uploadForm('twice'))))
  assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 409, 409, 409, 409, 409])
  for (const { status, json } of answers) if (status === 409) assert.equal(json.error.code, 'name_taken')
  await world.uploads.loop.settle()
  assert.equal(world.uploads.stored().length, 1)
  assert.equal((await upload('POST', '/upload', uploadForm('twice'), world.keys.ownerB)).status, 201)
  assert.equal((await upload('DELETE', '/byom/twice')).status, 200)
  assert.equal((await upload('POST', '/upload', uploadForm('twice'))).status, 201)
})

test('another organisation sees nothing of it', async () => {
  const { json } = await ready('secret')
  for (const path of [`/byom/${json.id}`, '/byom/secret'])
    for (const method of ['GET', 'DELETE'])
      assert.equal((await upload(method, path, undefined, world.keys.ownerB)).status, 404)
  const answer = await world.call('POST', '/deployments', {
    key: world.keys.ownerB,
    body: { ...wish('theirs'), model_id: 'byom:secret' },
  })
  assert.deepEqual([answer.status, answer.json.error.code], [422, 'model_not_supported'])
})

test('it is deployed by its name, cannot be deleted while it is needed, and a deployment rolls to it', async () => {
  await ready('one', starterFile())
  const made = await world.call('POST', '/deployments', { body: { ...wish('uses-one'), model_id: 'byom:one' } })
  assert.equal(made.status, 201, made.text)
  assert.equal(made.json.model_id, 'byom:one')
  const refused = await upload('DELETE', '/byom/one')
  assert.deepEqual([refused.status, refused.json.error.code], [409, 'conflict'])
  assert.match(refused.json.error.message, /needed by uses-one/)
  const form = uploadForm('two', starterFile())
  form.set('deployment_id', made.json.id)
  const sent = await upload('POST', '/upload', form)
  assert.equal(sent.status, 201, sent.text)
  assert.equal(sent.json.deployment_id, made.json.id)
  await world.uploads.loop.settle()
  await world.uploads.loop.settle()
  assert.deepEqual((await upload('GET', '/byom/two')).json.roll, { state: 'done', why: null })
  assert.equal((await world.call('GET', `/deployments/${made.json.id}`)).json.model_id, 'byom:two')
  assert.equal((await upload('DELETE', '/byom/one')).status, 200)
  assert.equal((await world.call('POST', `/deployments/${made.json.id}/stop`)).status, 200)
  assert.equal((await upload('DELETE', '/byom/two')).status, 409, 'it may be started again')
  assert.equal((await world.call('DELETE', `/deployments/${made.json.id}`)).status, 200)
  assert.equal((await upload('DELETE', '/byom/two')).status, 200)
})

test('going back to a model that was deleted, or is another file now, is refused before anything is changed', async () => {
  await ready('old', starterFile())
  await ready('new', starterFile())
  const made = await world.call('POST', '/deployments', { body: { ...wish('goes-back'), model_id: 'byom:old' } })
  assert.equal(made.status, 201, made.text)
  const at = `/deployments/${made.json.id}`
  const change = (model: string) => world.call('PATCH', at, { body: { model_id: model, allow_downtime: true } })
  assert.equal((await change('byom:new')).status, 200)
  // As when its replicas have answered, and those of the new one not yet.
  const prove = (number: number) =>
    world.db.query('update revisions set proven = true where deployment_id = $1 and number = $2', [
      made.json.id,
      number,
    ])
  await prove(1)
  const kept = await upload('DELETE', '/byom/old')
  assert.equal(kept.status, 409, kept.text)
  await prove(2)
  assert.equal((await upload('DELETE', '/byom/old')).status, 200)
  const before = (await world.call('GET', `${at}/revisions`)).text
  const refused = async (says: RegExp) => {
    for (const body of [{ revision: 1, allow_downtime: true }, { allow_downtime: true }]) {
      const answer = await world.call('POST', `${at}/rollback`, { body })
      assert.deepEqual([answer.status, answer.json.error.code], [409, 'conflict'], answer.text)
      assert.match(answer.json.error.message, says)
    }
    assert.equal((await world.call('GET', `${at}/revisions`)).text, before)
  }
  await refused(/byom:old was deleted/)
  assert.equal((await change('byom:old')).status, 422)
  await ready('old', tinyGguf())
  await refused(/byom:old is another file now/)
  assert.equal((await change('byom:old')).status, 200)
  assert.equal((await world.call('POST', `${at}/rollback`, { body: { allow_downtime: true } })).status, 200)
  assert.equal((await world.call('GET', at)).json.model_id, 'byom:new')
  assert.equal((await world.call('DELETE', at)).status, 200)
})

test('what is not ready, an adapter, or not there cannot be deployed', async () => {
  const deploy = (model: string) =>
    world.call('POST', '/deployments', { body: { ...wish('nothing'), model_id: model } })
  await upload('POST', '/upload', uploadForm('fresh'))
  await ready('lora', tinyGguf({ 'general.type': 'adapter' }))
  await upload('POST', '/upload', uploadForm('unready'))
  for (const [model, says] of [
    ['byom:unready', /still being checked/],
    ['byom:lora', /LoRA adapter/],
    ['byom:nowhere', /no such model/],
    ['byom:', /no such model/],
    ['byom:../../x', /no such model/],
  ] as const) {
    const answer = await deploy(model)
    assert.deepEqual([answer.status, answer.json.error.code], [422, 'model_not_supported'], answer.text)
    assert.match(answer.json.error.message, says)
  }
})

test('the same Idempotency-Key uploads once', async () => {
  const send = (name: string) =>
    world.call('POST', '/models/upload', { body: uploadForm(name), headers: { 'idempotency-key': `k-${name}` } })
  const first = await send('once')
  assert.equal(first.status, 201, first.text)
  const again = await send('once')
  assert.deepEqual([again.status, again.json.id], [201, first.json.id])
})
