/** Where a redirect of the Hub may lead, and what goes along. */
import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import type { AddressInfo, LookupFunction } from 'node:net'
import { after, before, test } from 'node:test'
import { Fault } from '../../kernel/fault.ts'
import { Secret } from '../../kernel/secret.ts'
import { kindOfAddress, refusedRedirect } from './address.ts'
import { HubHttp } from './http.ts'

/** Answers with what the test says, and notes the authorisation that came. */
const servers: Server[] = []
const seen: { at: string; authorization: string | undefined }[] = []
let to: Record<string, string> = {}
let hubPort = 0
let otherPort = 0

async function listen(name: string): Promise<number> {
  const server = createServer((request, response) => {
    seen.push({ at: name + request.url, authorization: request.headers.authorization })
    const location = to[name + request.url]
    if (location === undefined) response.end('here')
    else response.writeHead(302, { location }).end()
  })
  servers.push(server)
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return (server.address() as AddressInfo).port
}

before(async () => {
  hubPort = await listen('hub')
  otherPort = await listen('other')
})
after(() => {
  for (const server of servers) {
    server.close()
    server.closeAllConnections()
  }
})

const token = new Secret('hf_secret')

async function get(http: HubHttp): Promise<string> {
  const answer = await http.send({ path: '/start', token })
  return answer.body.text()
}

test('kinds of addresses', () => {
  const kinds = {
    public: ['8.8.8.8', '172.32.0.1', '2606:4700::1111', '::ffff:8.8.8.8'],
    private: ['127.0.0.1', '10.1.2.3', '172.16.0.1', '192.168.1.1', '100.64.0.1', '::1', 'fd12::1', '::ffff:10.0.0.1'],
    never: [
      '169.254.169.254',
      '0.0.0.0',
      '224.0.0.1',
      '255.255.255.255',
      'fe80::1',
      '::',
      'fd00:ec2::254',
      'no address',
    ],
  }
  for (const [kind, addresses] of Object.entries(kinds))
    for (const address of addresses) assert.equal(kindOfAddress(address), kind, address)
})

test('redirects that are refused by their form', () => {
  const hub = new URL('https://hub.example')
  const refused = (location: string, from = hub) => refusedRedirect(from, new URL(location, from), hub)
  assert.equal(refused('/elsewhere'), null)
  assert.equal(refused('https://cdn.example/x'), null)
  assert.match(refused('http://cdn.example/x')!, /https to http/)
  assert.match(refused('ftp://cdn.example/x')!, /no web address/)
  assert.match(refused('file:///etc/passwd')!, /no web address/)
  assert.match(refused('https://a:b@cdn.example/x')!, /password/)
})

test('the token goes to the Hub only, and not back to it after a detour', async () => {
  const http = new HubHttp({ endpoint: `http://127.0.0.1:${hubPort}` })
  to = {
    'hub/start': '/moved',
    'hub/moved': `http://127.0.0.1:${otherPort}/there`,
    'other/there': `http://127.0.0.1:${hubPort}/back`,
  }
  seen.length = 0
  assert.equal(await get(http), 'here')
  assert.deepEqual(seen, [
    { at: 'hub/start', authorization: 'Bearer hf_secret' },
    { at: 'hub/moved', authorization: 'Bearer hf_secret' },
    { at: 'other/there', authorization: undefined },
    { at: 'hub/back', authorization: undefined },
  ])
  to = { 'hub/start': '/start' }
  await assert.rejects(get(http), /in a circle/)
  await http.close()
})

/** As if names meant these addresses; the connection is made to this machine all the same. */
function lookup(names: Record<string, string>): LookupFunction {
  return (host, options, done) => {
    const address = names[host] ?? '127.0.0.1'
    if (options.all) done(null, [{ address, family: 4 }])
    else done(null, address, 4)
  }
}

test('a Hub among our own machines may send us to another of them, but never to what serves this machine’s secrets', async () => {
  const names = lookup({ 'cdn.internal': '127.0.0.1', 'metadata.internal': '169.254.169.254' })
  const http = new HubHttp({ endpoint: `http://hub.internal:${hubPort}`, lookup: names })
  to = { 'hub/start': `http://cdn.internal:${otherPort}/there` }
  assert.equal(await get(http), 'here')
  for (const target of ['http://metadata.internal/latest', 'http://169.254.169.254/latest', 'http://[fe80::1]/']) {
    to = { 'hub/start': target }
    await assert.rejects(
      get(http),
      (fault: Fault) => fault instanceof Fault && fault.code === 'hub_unreachable',
      target,
    )
  }
  await http.close()
})

test('a public Hub sends us to no machine of ours', async () => {
  let asked = 0
  const names: LookupFunction = (host, _options, done) => {
    asked += 1
    // Not all of its addresses are ours, so it is not. The first leads nowhere; who answers is here.
    const hub = [
      { address: '192.0.2.1', family: 4 },
      { address: '127.0.0.1', family: 4 },
    ]
    done(null, host === 'hub.example' ? hub : [{ address: '10.0.0.7', family: 4 }])
  }
  const http = new HubHttp({ endpoint: `http://hub.example:${hubPort}`, lookup: names })
  for (const target of [
    `http://127.0.0.1:${otherPort}/`,
    'http://inner.example/',
    'http://[::1]/',
    'http://[::ffff:10.0.0.1]/',
  ]) {
    to = { 'hub/start': target }
    seen.length = 0
    await assert.rejects(get(http), /private network|ECONN|cannot be used/, target)
    assert.deepEqual(
      seen.map(({ at }) => at),
      ['hub/start'],
    )
  }
  assert.ok(asked >= 2)
  await http.close()
})
