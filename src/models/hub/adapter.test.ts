/** Adapters of the Hub: what is asked before anything is brought, which files are meant, and how they come. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import type { AdapterFormat } from '../../engines/contract.adapters.ts'
import { Fault } from '../../kernel/fault.ts'
import { Secret } from '../../kernel/secret.ts'
import { systemClock, until } from '../../runtime/clock.ts'
import { silentLog } from '../../runtime/log.ts'
import { packageRoot } from '../../runtime/self.ts'
import { readAdapter } from '../adapters/read.ts'
import type { Brought } from '../adapters/sources.ts'
import { pinHubAdapter } from './adapter.ts'
import { HubAdapters } from './adapter-files.ts'
import { HubCache } from './cache.ts'
import { HubClient } from './client.ts'
import { Fetches } from './fetch.ts'
import { hubSource } from './file-source.ts'
import { HubHttp } from './http.ts'
import { HubServer } from './testing/hub-server.ts'

const longMs = 60_000
const hub = new HubServer()
const folder = mkdtempSync(join(realpathSync(tmpdir()), 'paddock-hub-adapters-'))
const starter = (name: string) => readFileSync(join(packageRoot, 'models', 'starter', name))
const peft = {
  'adapter_config.json': starter('pirate/adapter_config.json'),
  'adapter_model.safetensors': starter('pirate/adapter_model.safetensors'),
}
const inFolder = Object.fromEntries(Object.entries(peft).map(([name, bytes]) => [`sets/pirate/${name}`, bytes]))
let http: HubHttp
let adapters: HubAdapters

before(async () => {
  await hub.start()
  http = new HubHttp({ endpoint: hub.url })
  const client = new HubClient(http)
  const cache = new HubCache(folder)
  const fetches = new Fetches({
    ...{ cache, clock: systemClock, log: silentLog, filesAtOnce: 2 },
    limits: { bytesMaximum: 0, freeBytesMinimum: 0 },
    source: hubSource(client, async () => new Secret('hf_granted')),
    liveReplicas: async () => () => true,
    tell: async () => {},
  })
  adapters = new HubAdapters({
    ...{ folder, cache, fetches },
    now: () => systemClock.now(),
    pin: (_org, source, format) => {
      const asking = { client, clock: systemClock, timeoutMs: 20_000, cacheBytesMaximum: 400_000, folder }
      return pinHubAdapter(source, new Secret('hf_granted'), format, asking)
    },
  })
  hub.repos.put('ann/both', { ...peft, 'pirate.gguf': starter('pirate/pirate.gguf') })
  hub.repos.put('ann/nested', { ...inFolder, 'README.md': '#' })
  hub.repos.put('ann/gated', { ...peft }, { gated: 'manual' })
  hub.repos.put('ann/parts', { 'x-00001-of-00002.gguf': 'x', 'x-00002-of-00002.gguf': 'x' })
  hub.repos.put('ann/broken', { ...peft, 'adapter_model.safetensors': Buffer.alloc(64, 255) })
  hub.repos.put('ann/config', { ...peft, 'adapter_config.json': '[]' })
  hub.repos.put('ann/large', { 'large.gguf': Buffer.alloc(500_000) })
  hub.repos.account('hf_granted', 'ann', 'ann/gated')
})
after(async () => {
  await http.close()
  await hub.close()
  rmSync(folder, { recursive: true })
})
beforeEach(() => {
  hub.asked.length = 0
})

const pin = (source: string, format: AdapterFormat) => adapters.pin(null as never, 'org_a', source, format)

test('of both formats the one that the engine loads; all is asked at the commit, and access before files', async () => {
  const { file, origin } = await pin('hf:ann/both', 'peft')
  assert.deepEqual([file.format, file.rank, file.bases], ['peft', 8, ['paddock/starter']])
  const local = readAdapter(join(packageRoot, 'models', 'starter', 'pirate'))
  assert.deepEqual(file.changes, local.changes)
  assert.ok(origin.kind === 'hub' && origin.files.length === 2)
  const rest = hub.asked.slice(1).filter(({ path }) => !path.startsWith('/api/resolve-cache'))
  for (const { path } of rest) assert.ok(path.includes(origin.sha), path)
  assert.equal((await pin('hf:ann/both', 'gguf')).file.format, 'gguf')
  assert.equal((await pin('hf:ann/both/pirate.gguf', 'peft')).file.format, 'gguf', 'what is named is meant')
  hub.asked.length = 0
  await pin('hf:ann/gated', 'peft')
  assert.match(hub.asked[1]!.path, /auth-check$/)
})

test('a folder of it, which is what the engine gets', async () => {
  const { file, origin } = await pin('hf:ann/nested/sets/pirate', 'peft')
  assert.match(file.path, /\/sets\/pirate$/)
  const done = await brought(origin, 'rep_nested')
  assert.deepEqual(readAdapter(done).changes, file.changes)
})

test('what is none is refused', async () => {
  for (const [source, code] of [
    ['hf:ann/parts', 'hub_no_weights'],
    ['hf:ann/nested', 'hub_no_weights'],
    ['hf:ann/nested/sets', 'hub_file_not_found'],
    ['hf:ann/broken', 'adapter_unreadable'],
    ['hf:ann/config', 'adapter_unreadable'],
    ['hf:ann/large', 'hub_too_large'],
  ] as const)
    await assert.rejects(pin(source, 'peft'), (fault) => fault instanceof Fault && fault.code === code, source)
})

const order = (replicaId: string) => ({ orgId: 'org_a', deploymentId: 'dep_a', replicaId })
type Origin = Awaited<ReturnType<typeof pin>>['origin']

async function brought(origin: Origin, replicaId: string): Promise<string> {
  return until(systemClock, 'it is here', longMs, async () => {
    const now: Brought = await adapters.bring(origin, order(replicaId))
    return 'path' in now ? now.path : null
  })
}

test('brought once for all who wait; never waited for; what goes wrong is told once to each, and tried again', async () => {
  const { origin, file } = await pin('hf:ann/both', 'gguf')
  const open = Promise.withResolvers<void>()
  hub.cdn.gate = async (at) => {
    if (at > 0) await open.promise
  }
  const served = hub.cdn.served.length
  for (const replica of ['rep_a', 'rep_b', 'rep_a']) {
    const now = await adapters.bring(origin, order(replica))
    assert.match('detail' in now ? now.detail : '', / of 283 kB of ann\/both are here/)
  }
  open.resolve()
  assert.equal(await brought(origin, 'rep_a'), file.path)
  assert.equal(await brought(origin, 'rep_b'), file.path)
  assert.equal(hub.cdn.served.length, served + 1)
  assert.ok(readFileSync(file.path).equals(starter('pirate/pirate.gguf')))
  hub.cdn.gate = null
  const gated = await pin('hf:ann/gated', 'peft')
  // Another file than any that is here.
  assert.ok(gated.origin.kind === 'hub')
  const gone = { ...gated.origin, sha: '0'.repeat(40), files: gated.origin.files.map(elsewhere) }
  const told = await until(systemClock, 'it fails', longMs, () =>
    adapters.bring(gone, order('rep_c')).then(
      () => null,
      (error: unknown) => error,
    ),
  )
  assert.ok(told instanceof Fault && told.code === 'hub_revision_not_found', String(told))
  assert.ok('detail' in (await adapters.bring(gone, order('rep_c'))), 'it is tried again')
  adapters.leave('rep_c')
})

function elsewhere<T extends { digest: string }>(file: T): T {
  return { ...file, digest: file.digest.replace(/.{4}$/, '0000') }
}
