import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Placement } from '../contract.ts'
import { gpusFor, type Machine, offersOf, roomFor } from './capacity.ts'
import type { Gpu } from './gpus.ts'
import { cpu, TestFleet } from './testing/fleet.ts'

const types = [
  { slug: 'h100', gpusPerUnit: 1, regions: ['nyc2', 'tor1'] },
  { slug: 'mi300x', gpusPerUnit: 1, regions: ['nyc2'] },
  { slug: 'mi300x_8', gpusPerUnit: 8, regions: ['nyc2'] },
]
const gpus = (count: number, slug: string, vendor: Gpu['vendor'] = 'nvidia'): Gpu[] =>
  Array.from({ length: count }, (_, index) => ({ vendor, index: String(index), slug, name: slug }))
const bare: Machine = { cpuSlots: 2, fleet: 'local', types, gpus: [], freeGpus: [], held: [] }
const shown = (machine: Machine) =>
  offersOf(machine).map((o) => [o.gpuType, o.region, o.totalUnits, o.freeUnits, o.emulated])
const on = (gpuType: string, changes: Partial<Placement> = {}): Placement => ({ ...cpu, gpuType, ...changes })

const fleets: TestFleet[] = []
after(async () => {
  for (const fleet of fleets) await fleet.dispose()
})

test('a machine without GPUs offers its CPU slots, and no more than are left', () => {
  assert.deepEqual(shown(bare), [['cpu', 'local', 2, 2, false]])
  assert.deepEqual(shown({ ...bare, held: [cpu, cpu, cpu] }), [['cpu', 'local', 2, 0, false]])
})

test('the emulated fleet: eight GPUs’ worth of every type in each of its regions, each counted apart', () => {
  const held = [on('h100', { region: 'tor1', gpuCount: 2, emulated: true })]
  assert.deepEqual(shown({ ...bare, fleet: 'emulated', held }), [
    ['cpu', 'local', 2, 2, false],
    ['h100', 'nyc2', 8, 8, true],
    ['h100', 'tor1', 8, 6, true],
    ['mi300x', 'nyc2', 8, 8, true],
    ['mi300x_8', 'nyc2', 1, 1, true],
  ])
})

test('real GPUs are offered singly, and as the catalogue’s bundle where there are enough', () => {
  const eight = gpus(8, 'mi300x', 'amd')
  assert.deepEqual(shown({ ...bare, gpus: eight, freeGpus: eight.slice(1) }).slice(1), [
    ['mi300x', 'local', 8, 7, false],
    ['mi300x_8', 'local', 1, 0, false],
  ])
  assert.deepEqual(shown({ ...bare, gpus: gpus(2, 'l40s'), freeGpus: [] }).slice(1), [['l40s', 'local', 2, 0, false]])
  assert.equal(gpusFor(on('mi300x_8'), types, eight)!.count, 8)
  assert.equal(gpusFor(on('mi300x', { gpuCount: 2 }), types, eight)!.count, 2)
  assert.equal(gpusFor(on('h100', { emulated: true }), types, eight), null)
  assert.equal(gpusFor(cpu, types, eight), null)
})

test('hardware that is in use is full; hardware that never comes is unknown', () => {
  const offers = offersOf({ ...bare, held: [cpu, cpu] })
  assert.equal(roomFor(cpu, offersOf(bare)), 'free')
  assert.equal(roomFor(cpu, offers), 'full')
  for (const changes of [
    { gpuCount: 3 },
    { gpuCount: 0 },
    { region: 'nyc2' },
    { emulated: true },
    { provider: 'moon' },
  ])
    assert.equal(roomFor({ ...cpu, ...changes }, offers), 'unknown', JSON.stringify(changes))
})

test('a GPU belongs to one replica at a time, and is the only one that its engine sees', async () => {
  const fleet = new TestFleet({ probeGpus: async () => gpus(2, 'h100'), gpuTypes: types })
  fleets.push(fleet)
  const placement = on('h100')
  const [one, two] = await Promise.all([fleet.answering([], { placement }), fleet.answering([], { placement })])
  const plain = await fleet.answering()
  const sees = async ({ url }: { url: string }) =>
    ((await (await fetch(`${url}/facts`)).json()) as { env: Record<string, string> }).env
  const seen = (await Promise.all([sees(one), sees(two)])).map((env) => env.CUDA_VISIBLE_DEVICES)
  assert.deepEqual(seen.sort(), ['0', '1'])
  assert.equal((await sees(plain)).CUDA_VISIBLE_DEVICES, '', 'an engine on CPU slots sees none')
  await assert.rejects(fleet.local.create(fleet.order([], { placement })), { meaning: 'capacity_short' })
  await fleet.deleted(one.id)
  const free = async () => (await fleet.local.offers()).find((offer) => offer.gpuType === 'h100')!.freeUnits
  assert.equal(await free(), 1)
  await fleet.start([], { placement })
  assert.equal(await free(), 0)
})
