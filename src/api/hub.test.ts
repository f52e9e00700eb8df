/** Models of the Hub over HTTP: the organisation's token, what is refused and how, what a revision keeps. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { makeHub } from '../models/hub/setup.ts'
import { HubServer } from '../models/hub/testing/hub-server.ts'
import { safetensorsRepo, starterBytes } from '../models/hub/testing/repos.ts'
import { silentLog } from '../runtime/log.ts'
import { makeWorld, type World } from './testing.ts'

const hub = new HubServer()
const folder = '/nonexistent/hub'
let world: World

before(async () => {
  await hub.start()
  hub.repos.put('ann/tiny', { 'tiny.gguf': starterBytes })
  hub.repos.put('ann/gated', { 'gated.gguf': starterBytes }, { gated: 'manual' })
  hub.repos.put('ann/text', safetensorsRepo())
  hub.repos.account('hf_granted_0001', 'ann', 'ann/gated')
  hub.repos.account('hf_stranger_002', 'bob')
  world = await makeWorld({}, { hub: worldHub(hub.url), models: { hubFolder: folder } })
})
after(async () => {
  await world.close()
  await hub.close()
})

type MakeParts = { db: World['db']; seal: World['context']['seal']; clock: World['context']['clock'] }

function worldHub(endpoint: string) {
  const limits = { bytesMaximum: 0, freeBytesMinimum: 0 }
  const rest = { log: silentLog, folder, timeoutMs: 20_000, limits, filesAtOnce: 1, bases: () => [] }
  return (parts: MakeParts) => makeHub({ ...parts, ...rest, endpoint })
}

const wish = (name: string, model_id: string) => ({ name, model_id, gpu_type: 'cpu' })
const deploy = (name: string, model_id: string, key?: string) =>
  world.call('POST', '/deployments', { body: wish(name, model_id), ...(key === undefined ? {} : { key }) })
const tokenPath = (org: string) => `/orgs/${org}/hf-token`
const put = (token: unknown, org = world.orgA, key?: string) =>
  world.call('PUT', tokenPath(org), { body: { token }, ...(key === undefined ? {} : { key }) })

test('the token goes in and never comes out', async () => {
  const before = await world.call('GET', tokenPath(world.orgA))
  assert.deepEqual(before.json, { org_id: world.orgA, set: false, hint: null, account: null, changed_at: null })
  const made = await put('hf_granted_0001')
  assert.equal(made.status, 200)
  assert.deepEqual([made.json.set, made.json.hint, made.json.account], [true, '0001', 'ann'])
  const after = await world.call('GET', tokenPath(world.orgA), { key: world.keys.viewerA })
  assert.deepEqual(after.json, made.json)
  const rows = await world.db.query('select * from hub_tokens')
  const events = await world.db.query("select type, data from events where type like 'org.hub%'")
  assert.equal(rows.length, 1)
  assert.deepEqual(
    (events as { type: string }[]).map(({ type }) => type),
    ['org.hub_token_set'],
  )
  assert.doesNotMatch(JSON.stringify([rows, events, made.text, after.text]), /hf_granted/)
})

test('another organisation has another token, and sees none of this one', async () => {
  for (const method of ['GET', 'DELETE']) {
    const answer = await world.call(method, tokenPath(world.orgA), { key: world.keys.ownerB })
    assert.equal(answer.status, 404)
  }
  assert.equal((await put('hf_stranger_002', world.orgA, world.keys.ownerB)).status, 404)
  assert.equal((await put('hf_stranger_002', world.orgB, world.keys.ownerB)).json.account, 'bob')
  assert.equal((await world.call('GET', tokenPath(world.orgA))).json.account, 'ann')
  assert.equal((await world.call('GET', tokenPath('org_nowhere'), { key: world.keys.operator })).status, 404)
  assert.equal((await world.call('GET', tokenPath(world.orgB), { key: world.keys.operator })).json.account, 'bob')
})

test('what is no token', async () => {
  for (const token of [
    '',
    'short',
    'with space in it',
    'x'.repeat(501),
    'hf_tökens_öf',
    'hf_line\nfeed',
    null,
    7,
    undefined,
  ]) {
    const answer = await put(token)
    assert.equal(answer.status, 400, JSON.stringify(token))
    assert.match(answer.json.error.message, /token/)
  }
  const refused = await put('hf_of_nobody')
  assert.deepEqual([refused.status, refused.json.error.code], [422, 'hub_token_refused'])
  assert.doesNotMatch(refused.text, /hf_of_nobody/)
  assert.equal((await world.call('GET', tokenPath(world.orgA))).json.account, 'ann', 'the one before stays')
})

test('a Hub that is away keeps nobody from setting a token', async () => {
  hub.broken = 1
  const answer = await put('hf_granted_0001')
  assert.deepEqual([answer.status, answer.json.set, answer.json.account], [200, true, null])
  await put('hf_granted_0001')
})

test('each organisation deploys with its own token, whatever another has here already', async () => {
  const mine = await deploy('gated', 'hf:ann/gated')
  assert.equal(mine.status, 201)
  const theirs = await deploy('gated', 'hf:ann/gated', world.keys.ownerB)
  assert.deepEqual([theirs.status, theirs.json.error.code], [422, 'hub_access_not_granted'])
  await world.call('DELETE', tokenPath(world.orgB), { key: world.keys.ownerB })
  await world.call('DELETE', tokenPath(world.orgB), { key: world.keys.ownerB })
  const without = await deploy('gated', 'hf:ann/gated', world.keys.ownerB)
  assert.equal(without.json.error.code, 'hub_token_missing')
  assert.match(without.json.error.action, /PUT \/orgs\/\{id\}\/hf-token/)
})

test('what the Hub refuses is refused with its own code, and nothing is made', async () => {
  for (const [model, status, code] of [
    ['hf:ann/nowhere', 422, 'hub_repo_not_found'],
    ['hf:ann/tiny@gone', 422, 'hub_revision_not_found'],
    ['hf:ann/tiny/Q3_K_S', 422, 'hub_file_not_found'],
    ['hf:tiny', 400, 'invalid_request'],
    ['hf:ann/text', 422, 'engine_not_available'],
  ] as const) {
    const answer = await deploy('refused', model)
    assert.deepEqual([answer.status, answer.json.error.code], [status, code], answer.text)
  }
  hub.broken = 1
  const away = await deploy('refused', 'hf:ann/tiny')
  assert.deepEqual([away.status, away.json.error.code], [503, 'hub_unreachable'])
  assert.ok(Number(away.headers.get('retry-after')) > 0)
  assert.equal((await world.call('GET', '/deployments/refused')).status, 404)
  const asked = hub.asked.length
  const viewer = await deploy('refused', 'hf:ann/tiny', world.keys.viewerA)
  assert.equal(viewer.status, 403)
  assert.equal(hub.asked.length, asked, 'who may not deploy has nothing asked for them')
})

test('sent again with its key, it is answered without a word to the Hub', async () => {
  const send = (body: object) =>
    world.call('POST', '/deployments', { body, headers: { 'idempotency-key': 'once-from-the-hub' } })
  const made = await send(wish('once', 'hf:ann/tiny'))
  assert.equal(made.status, 201, made.text)
  const asked = hub.asked.length + hub.cdn.served.length
  hub.repos.byId.delete('ann/tiny')
  const again = await send(wish('once', 'hf:ann/tiny'))
  assert.deepEqual([again.status, again.json.id], [201, made.json.id], again.text)
  assert.equal(hub.asked.length + hub.cdn.served.length, asked)
  assert.equal((await send(wish('other', 'hf:ann/tiny'))).json.error.code, 'idempotency_conflict')
  const stranger = await world.call('POST', '/deployments', {
    ...{ key: world.keys.viewerA, body: wish('once', 'hf:ann/tiny') },
    headers: { 'idempotency-key': 'once-from-the-hub' },
  })
  assert.equal(stranger.status, 403, 'and only to whom it may be answered')
  hub.repos.put('ann/tiny', { 'tiny.gguf': starterBytes })
  await world.call('DELETE', '/deployments/once')
})

test('hardware that there is not is refused before the Hub is asked', async () => {
  const asked = hub.asked.length
  for (const [change, code] of [
    [{ gpu_type: 'abacus' }, 'gpu_type_unknown'],
    [{ gpu_type: 'h100', gpu_count: 3 }, 'gpu_count_unsupported'],
    [{ gpu_type: 'h200' }, 'price_not_set'],
  ] as const)
    for (const query of ['', '?dry_run=true']) {
      const body = { ...wish('nowhere', 'hf:ann/tiny'), ...change }
      assert.equal((await world.call('POST', `/deployments${query}`, { body })).json.error?.code, code)
    }
  assert.equal(hub.asked.length, asked)
})

test('a revision keeps its commit; another is named, or the model named anew', async () => {
  const first = hub.repos.put('ann/moves', { 'a.gguf': starterBytes })
  const made = await deploy('moves', 'hf:ann/moves')
  assert.equal(made.json.model_source.sha, first)
  assert.equal(made.json.model_source.revision, 'main')
  const second = hub.repos.put('ann/moves', { 'a.gguf': starterBytes, 'README.md': 'new' })
  const patch = (body: object) => world.call('PATCH', '/deployments/moves', { body })
  const same = await patch({ model_id: 'hf:ann/moves', engine: { max_num_seqs: 2 } })
  assert.deepEqual([same.json.revision, same.json.model_source.sha], [2, first])
  hub.broken = 100
  assert.equal((await patch({ engine: { max_num_seqs: 3 } })).json.model_source.sha, first, 'the Hub is not asked')
  hub.broken = 0
  const moved = await patch({ model_id: 'hf:ann/moves@main' })
  assert.deepEqual([moved.json.revision, moved.json.model_source.sha], [4, second])
  const { data } = (await world.call('GET', '/deployments/moves/revisions')).json
  assert.deepEqual(
    data.map((one: { model_source: { sha: string } }) => one.model_source.sha),
    [second, first, first, first],
  )
  const back = await world.call('POST', '/deployments/moves/rollback', { body: { revision: 1 } })
  assert.equal(back.json.model_source.sha, first)
  const other = await patch({ model_id: 'paddock/starter' })
  assert.equal(other.json.model_source, null)
  assert.equal((await patch({ model_id: 'hf:ann/nowhere' })).json.error.code, 'hub_repo_not_found')
})

test('a model of the catalogue comes from its repository, in its quantisation', async () => {
  const models = { hubFolder: folder, starterStandsIn: false }
  const own = await makeWorld({}, { hub: worldHub(hub.url), models })
  try {
    const sha = hub.repos.put('ann/quants', { 'm-Q4_K_M.gguf': starterBytes, 'm-Q8_0.gguf': starterBytes })
    const entry = { id: 'acme/small', source_repo: 'ann/quants', context_size: 512, tensor_type: 'Q8_0' }
    const body = { ...entry, quantization: 'gguf' }
    const added = await own.call('POST', '/models', { key: own.keys.operator, body })
    assert.equal(added.status, 201, added.text)
    const made = await own.call('POST', '/deployments', { body: wish('small', 'acme/small') })
    assert.equal(made.status, 201, made.text)
    const { model_id, model_source, emulated } = made.json
    assert.deepEqual([model_id, model_source.sha, model_source.quantization], ['acme/small', sha, 'Q8_0'])
    assert.equal(emulated, false)
  } finally {
    await own.close()
  }
})

test('a server without a Hub says so', async () => {
  const own = await makeWorld({}, { hub: worldHub('') })
  try {
    const answer = await own.call('POST', '/deployments', { body: wish('x', 'hf:ann/tiny') })
    assert.deepEqual([answer.status, answer.json.error.code], [422, 'hub_off'])
    assert.equal((await own.call('PUT', tokenPath(own.orgA), { body: { token: 'hf_anything' } })).json.account, null)
  } finally {
    await own.close()
  }
})
