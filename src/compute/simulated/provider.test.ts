/** The simulated provider under a clock that the test moves: what its script says happens, when it says so, every time. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { HandClock } from '../../deployments/testing/machines.ts'
import { simulated } from '../../engines/simulated/driver.ts'
import type { ReplicaId } from '../../kernel/ids.ts'
import { newId } from '../../runtime/ids.ts'
import { makeSimulation } from '../../server-simulation.ts'
import type { Observation, Placement, ReplicaOrder } from '../contract.ts'
import { Agenda } from './agenda.ts'
import { FileJournal } from './journal.ts'
import { SimulatedCompute } from './provider.ts'
import { makeScript, readScript, type ScriptInput, type TroubleInput, trouble } from './script.ts'

const types = [
  { slug: 'h100', gpusPerUnit: 1, regions: ['nyc2', 'tor1'] },
  { slug: 'mi300x_8', gpusPerUnit: 8, regions: ['nyc2'] },
  { slug: 'cpu', gpusPerUnit: 0, regions: ['local'] },
]
const placement: Placement = { provider: 'simulated', gpuType: 'h100', gpuCount: 1, region: 'nyc2', emulated: true }
/** Hardware after one second, files after two, loaded after three, ready after three and a fifth. */
const usual: ScriptInput = { start: { hardware_seconds: 1, files_seconds: 1 } }

function order(args: string[] = [], over: Partial<Placement> = {}): ReplicaOrder {
  const id = newId('rep')
  const model = { modelId: 'any', format: 'gguf' as const, path: '', sizeBytes: 0, contextSize: 1000 }
  const spec = { type: 'simulated' as const, additionalArgs: args }
  return {
    id,
    deploymentId: newId('dep'),
    placement: { ...placement, ...over },
    model,
    launch: (host) => simulated.launch({ spec, model, host, servedName: 'any', apiKey: id }),
  }
}

function begin(script: ScriptInput = {}) {
  const clock = new HandClock()
  const { compute, room } = makeSimulation({ clock, types, script: makeScript({ ...usual, ...script }) })
  const make = async (args: string[] = [], over: Partial<Placement> = {}): Promise<ReplicaId> => {
    const one = order(args, over)
    await compute.create(one)
    return one.id
  }
  const free = async (region = 'nyc2') =>
    (await compute.offers()).find((offer) => offer.gpuType === 'h100' && offer.region === region)!.freeUnits
  const add = (spec: TroubleInput) => compute.addTrouble(trouble.parse(spec))
  return { clock, compute, room, make, free, add, began: clock.now() }
}

const stateOf = (seen: Observation) => (seen.state === 'pending' ? seen.detail : seen.state)

test('a start: machine, files, engine; and everything that is offered says that it is made up', async () => {
  const { clock, compute, make } = begin()
  const offers = await compute.offers()
  assert.ok(offers.every(({ emulated, simulated: made }) => emulated && made))
  assert.deepEqual(
    offers.map((offer) => [offer.gpuType, offer.region, offer.totalUnits]),
    [
      ['h100', 'nyc2', 8],
      ['h100', 'tor1', 8],
      ['mi300x_8', 'nyc2', 1],
      ['cpu', 'local', 8],
    ],
  )
  const id = await make()
  const seen: string[] = []
  for (let i = 0; i < 5; i++, clock.pass(500)) seen.push(stateOf(await compute.observe(id)))
  assert.deepEqual(seen, [
    'Its machine is being made.',
    'Its machine is being made.',
    'Its files are being placed.',
    'Its files are being placed.',
    'running',
  ])
  assert.deepEqual(compute.running(), [])
  clock.pass(1_200)
  assert.equal(compute.running().length, 1)
})

test('units by type and region; a shortage lets nobody in, and ends', async () => {
  const { clock, make, free } = begin({
    units: { h100: 3, 'h100/tor1': 1 },
    troubles: [{ what: 'shortage', from: 10, for: 20, region: 'nyc2', units: 1 }],
  })
  await make()
  assert.deepEqual([await free(), await free('tor1')], [2, 1])
  clock.pass(10_000)
  assert.deepEqual([await free(), await free('tor1')], [0, 1])
  await assert.rejects(make(), { meaning: 'capacity_short' })
  clock.pass(20_000)
  assert.equal(await free(), 2)
  await make()
})

test('a slow start and one that fails, with its last lines, once each', async () => {
  const { clock, compute, make, free, began } = begin({
    troubles: [
      { what: 'slow_start', factor: 10, times: 1 },
      { what: 'failing_start', from: 1, times: 1, at: 'load', exit_code: 137, say: ['CUDA out of memory'] },
    ],
  })
  const slow = await make()
  clock.pass(1_000)
  const failing = await make()
  const well = await make()
  clock.pass(10_000)
  const [first, second, third] = await Promise.all([slow, failing, well].map((id) => compute.observe(id)))
  assert.equal(stateOf(first!), 'Its files are being placed.')
  assert.ok(second?.state === 'exited')
  assert.equal(second.exit.at, began + 1_000 + 3_000, 'dated when it happened, not when somebody looked')
  assert.deepEqual([second.exit.code, second.exit.lastLines.at(-1)], [137, 'CUDA out of memory'])
  assert.equal(third!.state, 'running')
  assert.equal(await free(), 6, 'what has ended holds nothing')
})

test('what a deployment’s own arguments say happens without any script', async () => {
  const { clock, compute, make } = begin()
  const id = await make(['--load-seconds=4', '--crash-after-seconds=5', '--say=bye'])
  clock.pass(6_200)
  assert.equal(compute.running().length, 1)
  clock.pass(5_000)
  const seen = await compute.observe(id)
  assert.ok(seen.state === 'exited' && seen.exit.lastLines.at(-1) === 'bye')
})

test('crash, hang and vanish: on demand, of the oldest or of the one that is named', async () => {
  const { clock, compute, room, make, add } = begin()
  const ids = [await make(), await make(), await make()]
  clock.pass(4_000)
  add({ what: 'crash', say: ['boom'] })
  add({ what: 'vanish', replica_id: ids[2]! })
  assert.deepEqual(
    (await Promise.all(ids.map((id) => compute.observe(id)))).map(({ state }) => state),
    ['exited', 'running', 'not_found'],
  )
  assert.equal(room.size, 1)
  add({ what: 'hang', for: 10 })
  const { hang } = compute.running()[0]!.engine!.fate
  assert.deepEqual(hang, { from: clock.now(), to: clock.now() + 10_000 })
})

test('a lost reply: the machine is there, the caller does not know, and asking again makes no second one', async () => {
  const { compute, make, free } = begin({ troubles: [{ what: 'lost_reply', times: 2 }] })
  const one = order()
  await assert.rejects(compute.create(one), { meaning: 'unavailable' })
  assert.deepEqual(await compute.list(), [one.id])
  await assert.rejects(compute.create(one), { meaning: 'unavailable' })
  await compute.create(one)
  assert.deepEqual([await compute.list(), await free()], [[one.id], 7])
  await make()
})

test('a create that arrives twice: the late one brings back what was removed meanwhile', async () => {
  const { clock, compute, make, free } = begin({ troubles: [{ what: 'create_twice', after_seconds: 30, times: 1 }] })
  const id = await make()
  clock.pass(5_000)
  await compute.delete(id)
  assert.deepEqual([await compute.list(), await free()], [[], 8])
  clock.pass(30_000)
  assert.deepEqual([await compute.list(), await free()], [[id], 7])
})

test('phantoms are listed and hold hardware; they are removed like anything else', async () => {
  const { clock, compute, free } = begin({ troubles: [{ what: 'phantom', from: 5, count: 2, region: 'nyc2' }] })
  assert.deepEqual(await compute.list(), [])
  clock.pass(5_000)
  const ids = await compute.list()
  assert.deepEqual([ids.length, await free()], [2, 6])
  assert.deepEqual(await compute.logs(ids[0]!, 5), [])
  for (const id of ids) await compute.delete(id)
  assert.deepEqual([await compute.list(), await free()], [[], 8])
})

test('a provider that is away, and one that takes its time', async () => {
  const { clock, compute, make } = begin({
    troubles: [
      { what: 'unavailable', from: 0, for: 5 },
      { what: 'slow_reply', call: 'list', from: 5, seconds: 3 },
    ],
  })
  await assert.rejects(make(), { meaning: 'unavailable' })
  await assert.rejects(compute.offers(), { meaning: 'unavailable' })
  clock.pass(5_000)
  await make()
  let listed = false
  const list = compute.list().then(() => (listed = true))
  await new Promise((done) => setImmediate(done))
  assert.equal(listed, false)
  clock.pass(3_000)
  assert.equal(await list, true)
})

test('the same seed and calls give the same fates; another seed gives others', async () => {
  const fates = async (seed: number) => {
    const { clock, compute, make, began } = begin({
      seed,
      jitter: 0.5,
      troubles: [{ what: 'short_life', chance: 0.5, after_seconds: 60, how: 'crash' }],
    })
    for (let i = 0; i < 8; i++) await make()
    clock.pass(20_000)
    return compute.running().map(({ engine }) => [engine!.fate.readyAt - began, engine!.fate.end !== null])
  }
  assert.deepEqual(await fates(7), await fates(7))
  assert.notDeepEqual(await fates(7), await fates(8))
})

test('what is in its journal goes on after a kill in the middle of a line, troubles too', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'paddock-journal-'))
  try {
    const path = join(folder, 'journal.jsonl')
    const clock = new HandClock()
    const script = makeScript({ ...usual, troubles: [{ what: 'crash', from: 10 }] })
    const start = () => {
      const { room } = makeSimulation({ clock, types, script })
      const journal = new FileJournal(path)
      const kept = journal.open()
      return new SimulatedCompute({
        clock,
        types,
        script,
        room,
        place: () => ({ address: '', port: 1 }),
        doorways: () => null,
        journal,
        kept,
      })
    }
    const first = start()
    const orders = [order(), order(), order()]
    for (const one of orders) await first.create(one)
    await first.delete(orders[2]!.id)
    clock.pass(5_000)
    writeFileSync(path, `${readFileSync(path, 'utf8')}{"machine":{"id":"rep_ha`)
    const second = start()
    assert.deepEqual(await second.list(), [orders[0]!.id, orders[1]!.id])
    assert.equal((await second.offers())[0]!.freeUnits, 6)
    clock.pass(6_000)
    const seen = await second.observe(orders[0]!.id)
    assert.ok(seen.state === 'exited' && seen.exit.at === clock.now() - 1_000, 'the script goes on where it was')
    assert.equal((await start().observe(orders[0]!.id)).state, 'exited')
    assert.equal((await start().observe(orders[1]!.id)).state, 'running')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('thirty thousand machines are no burden', async () => {
  const { clock, compute, make } = begin({ units: { h100: 100_000 } })
  const began = performance.now()
  for (let i = 0; i < 30_000; i++) await make(['--crash-after-seconds=100'])
  clock.pass(60_000)
  assert.equal((await compute.observeAll(await compute.list())).size, 30_000)
  clock.pass(60_000)
  const [offer] = await compute.offers()
  assert.equal(offer!.freeUnits, 100_000)
  // A tenth of a millisecond each on a quiet machine; this is about the order of growth.
  assert.ok(performance.now() - began < 60_000)
})

test('the agenda keeps the order of time, and of adding within one moment', () => {
  const agenda = new Agenda()
  const happened: number[] = []
  const times = Array.from({ length: 200 }, (_, i) => (i * 37) % 50)
  for (const [i, at] of times.entries()) agenda.add(at, () => happened.push(i))
  agenda.settle(24)
  assert.equal(agenda.nextAt, 25)
  agenda.settle(100)
  assert.deepEqual(
    happened,
    times
      .map((at, i) => ({ at, i }))
      .sort((a, b) => a.at - b.at || a.i - b.i)
      .map(({ i }) => i),
  )
})

test('a script that is wrong says what and where', () => {
  const folder = mkdtempSync(join(tmpdir(), 'paddock-script-'))
  const path = join(folder, 'script.json')
  const refused = (text: string, say: RegExp) => {
    writeFileSync(path, text)
    assert.throws(() => readScript(path), say)
  }
  try {
    assert.deepEqual(readScript(''), makeScript())
    assert.throws(() => readScript(join(folder, 'none.json')), /compute\.simulated\.script: .*none\.json/)
    refused('{', /cannot be read as JSON/)
    refused('{"sed": 1}', /sed/)
    refused('{"troubles": [{"what": "rain"}]}', /troubles\.0\.what/)
    refused(
      '{"troubles": [{"what": "slow_start"}], "jitter": 2}',
      /troubles\.0\.factor.*; jitter|jitter.*troubles\.0\.factor/,
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
})
