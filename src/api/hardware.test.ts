/**
 * Hardware over the API, on the emulated fleet with the real reconciler: preference lists, price ceilings, what is free,
 * and `fail_fast`. In each region there is one mi300x_8 and one mi325x_8: easily used up.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { TestFleet } from '../compute/local/testing/fleet.ts'
import { DeploymentLoop } from '../deployments/loop.ts'
import { quickSettings, standInEngine } from '../deployments/testing/stand-in.ts'
import { loadHardware } from '../models/hardware.ts'
import { systemClock, until } from '../runtime/clock.ts'
import { silentLog } from '../runtime/log.ts'
import { type Answer, makeWorld, type World } from './testing.ts'

const fleet = new TestFleet({ fleet: 'emulated', gpuTypes: loadHardware({}).all() })
const stop = new AbortController()
let loop: DeploymentLoop
let running: Promise<void>
let world: World

before(async () => {
  world = await makeWorld(
    {},
    {
      computes: new Map([['local', fleet.local]]),
      engines: new Map([['llamacpp' as const, standInEngine()]]),
      wake: () => loop?.wake(),
    },
  )
  loop = new DeploymentLoop(
    { ...world.context, settings: quickSettings, stopGraceSeconds: 1, log: silentLog },
    'hardware test',
  )
  running = loop.run(stop.signal)
})
after(async () => {
  stop.abort()
  await running
  await fleet.dispose()
  await world.close()
})

const eight = (region: string) => ({ gpu_type: 'mi300x_8', region })
const create = (name: string, more: object, key = world.keys.ownerA) =>
  world.call('POST', '/deployments', { key, body: { name, model_id: 'paddock/starter', replicas: 1, ...more } })
const get = async (name: string) => (await world.call('GET', `/deployments/${name}`)).json
const patch = (name: string, body: object) => world.call('PATCH', `/deployments/${name}`, { body })

async function untilPhase(name: string, phase: string) {
  return until(systemClock, `${name} ${phase}`, 30_000, async () => {
    const seen = await get(name)
    return seen.phase === phase ? seen : null
  })
}
async function remove(...names: string[]): Promise<void> {
  for (const name of names) {
    const { id } = (await world.call('DELETE', `/deployments/${name}`)).json
    await until(systemClock, `${name} is gone`, 30_000, async () => (await get(id)).phase === 'deleted')
  }
}

/** Units of mi300x_8. */
async function freeIn(region: string): Promise<number> {
  const types = (await world.call('GET', '/gpu-types')).json.data
  const { availability } = types.find((type: { gpu_type: string }) => type.gpu_type === 'mi300x_8')
  return availability.find((one: { region: string }) => one.region === region).free_units
}

test('the first choice that is free: on the second choice it says so, and costs what that costs', async () => {
  // The other org holds the one unit there is.
  const holder = await create('holder', eight('nyc2'), world.keys.ownerB)
  assert.equal(holder.status, 201, holder.text)
  await until(systemClock, 'the holder serves', 30_000, async () => {
    const seen = await world.call('GET', '/deployments/holder', { key: world.keys.ownerB })
    return seen.json.phase === 'serving'
  })
  const hardware = [eight('nyc2'), { gpu_type: 'mi325x_8', region: 'nyc2' }, { gpu_type: 'h100' }]
  const made = await create('second', { hardware, gpu_type: 'h100', gpu_count: 4, max_hourly_usd: 24 })
  assert.equal(made.status, 201, made.text)
  assert.deepEqual([made.json.gpu_type, made.json.gpu_count, made.json.region], ['mi300x_8', 1, 'nyc2'])
  const seen = await untilPhase('second', 'serving')
  assert.deepEqual(seen.runs_on, [
    { gpu_type: 'mi325x_8', gpu_count: 1, region: 'nyc2', replicas: 1, hourly_cost_usd: 23.82, emulated: true },
  ])
  assert.deepEqual([seen.hourly_cost_usd, seen.hourly_cost_max_usd], [23.82, 23.82])
  assert.deepEqual(
    seen.hardware.map((one: Record<string, unknown>) => [one.gpu_type, one.hourly_cost_usd, one.skipped]),
    [
      ['mi300x_8', 20.7, null],
      ['mi325x_8', 23.82, null],
      ['h100', 4.41, null],
    ],
  )
  assert.equal(seen.emulated, true)

  assert.equal(await freeIn('nyc2'), 0)
  const types = (await world.call('GET', '/gpu-types')).json.data as Record<string, unknown>[]
  const [of300] = types.filter((type) => type.gpu_type === 'mi300x_8')
  assert.deepEqual(
    (of300!.availability as { region: string }[]).find(({ region }) => region === 'nyc2'),
    { region: 'nyc2', free_units: 0, total_units: 1, emulated: true, simulated: false },
  )
  const scoped = (await world.call('GET', '/gpu-types', { key: world.keys.scopedA })).json.data
  assert.ok(scoped.every((type: { availability: unknown }) => type.availability === null))
  await remove('second')
})

test('fail_fast: 503 with the sentence of the guide, Retry-After and advice, and nothing is there', async () => {
  const refused = await create('hurry', { ...eight('nyc2'), fail_fast: true })
  assert.equal(refused.status, 503, refused.text)
  const { error } = refused.json
  assert.equal(error.message, 'Hardware for endpoint not available now. please try again later')
  assert.equal(error.code, 'capacity_short')
  assert.ok(Number(refused.headers.get('retry-after')) > 0)
  assert.match(error.action, /comparable hardware that is free now \(.*mi325x_8.*\)/)
  assert.equal(error.detail.free_replicas, 0)
  assert.ok(error.detail.comparable.some((one: { region: string }) => one.region === 'tor1'))
  assert.equal((await world.call('GET', '/deployments/hurry')).status, 404)

  // What is free starts; the same key again gives the same answer although there is no room for another.
  const headers = { 'idempotency-key': 'hurry' }
  const body = { name: 'hurry', model_id: 'paddock/starter', replicas: 1, ...eight('tor1'), fail_fast: true }
  const made = await world.call('POST', '/deployments', { body, headers })
  assert.equal(made.status, 201, made.text)
  await untilPhase('hurry', 'serving')
  const again = await world.call('POST', '/deployments', { body, headers })
  assert.deepEqual([again.status, again.json.id], [201, made.json.id])

  // The same for what exists: start and wake.
  for (const [away, back] of [
    ['stop', 'start'],
    ['sleep', 'wake'],
  ]) {
    await world.call('POST', `/deployments/hurry/${away}`)
    await until(systemClock, 'its place is free', 30_000, async () => (await freeIn('tor1')) === 1)
    await world.db.run(
      `update deployments set spec = jsonb_set(spec, '{hardware,0,region}', '"nyc2"') where name = 'hurry'`,
    )
    const before = await get('hurry')
    const late = await world.call('POST', `/deployments/hurry/${back}`, { body: { fail_fast: true } })
    assert.deepEqual([late.status, late.json.error.message], [503, error.message])
    assert.equal((await get('hurry')).desired_replicas, before.desired_replicas)
    await world.db.run(
      `update deployments set spec = jsonb_set(spec, '{hardware,0,region}', '"tor1"') where name = 'hurry'`,
    )
    const in_time = await world.call('POST', `/deployments/hurry/${back}`, { body: { fail_fast: true } })
    assert.equal(in_time.status, 200, in_time.text)
    await untilPhase('hurry', 'serving')
  }
  await remove('hurry')
})

test('a ceiling: a dear choice is passed over with the reason; none that fits: 422 with numbers; growth stops at it', async () => {
  const hardware = [eight('atl1'), { gpu_type: 'h100', region: 'atl1' }]
  const none = await create('poor', { hardware, max_hourly_usd: 4 })
  assert.deepEqual([none.status, none.json.error.code], [422, 'price_ceiling'])
  assert.match(none.json.error.message, /max_hourly_usd is 4; the cheapest choice costs \$4\.41 an hour for 1 replica/)
  assert.deepEqual(
    none.json.error.detail.choices.map((one: { hourly_usd: number }) => one.hourly_usd),
    [20.7, 4.41],
  )
  const made = await create('thrifty', { hardware, max_hourly_usd: 9.5 })
  assert.equal(made.status, 201, made.text)
  assert.equal(made.json.hardware[0].skipped, '1 replica would cost $20.70 an hour, above max_hourly_usd (9.5).')
  assert.equal(made.json.hardware[1].skipped, null)
  const seen = await untilPhase('thrifty', 'serving')
  assert.deepEqual([seen.runs_on[0].gpu_type, seen.hourly_cost_usd, seen.max_hourly_usd], ['h100', 4.41, 9.5])

  const dear = await patch('thrifty', { replicas: 3 })
  assert.deepEqual([dear.status, dear.json.error.code], [422, 'price_ceiling'])
  const floor = await world.call('PATCH', '/deployments/thrifty/scaling', { body: { min_replicas: 3 } })
  assert.deepEqual([floor.status, floor.json.error?.code], [422, 'price_ceiling'])
  // A range may go beyond it; what is wanted above the ceiling is not started.
  const range = await patch('thrifty', { scaling: { min_replicas: 1, max_replicas: 3 } })
  assert.deepEqual([range.status, range.json.hourly_cost_max_usd], [200, 9.5])
  await world.db.run(`update deployments set desired_replicas = 3, next_at = now() where name = 'thrifty'`)
  const stopped = await until(systemClock, 'two of three', 30_000, async () => {
    const now = await get('thrifty')
    return now.ready_replicas === 2 && now.phase === 'serving' ? now : null
  })
  assert.equal(stopped.reason.code, 'price_ceiling')
  assert.match(stopped.reason.message, /^2 of 3 replicas are ready\. .*max_hourly_usd/)
  await world.db.run(`update deployments set desired_replicas = 1, next_at = now() where name = 'thrifty'`)

  // Both together: the new ceiling counts for the new number.
  const both = await patch('thrifty', { replicas: 1, max_hourly_usd: null, hardware: [{ gpu_type: 'cpu' }] })
  assert.equal(both.status, 200, both.text)
  assert.equal(both.json.revision, 2, 'hardware and ceiling are settings that roll')
  const moved = await until(systemClock, 'it has moved', 30_000, async () => {
    const now = await get('thrifty')
    return now.phase === 'serving' && now.runs_on.length === 1 && now.runs_on[0].gpu_type === 'cpu' ? now : null
  })
  assert.deepEqual([moved.emulated, moved.hourly_cost_usd, moved.max_hourly_usd], [false, 0, null])
  const revisions = (await world.call('GET', '/deployments/thrifty/revisions')).json.data
  assert.deepEqual(
    revisions.map((one: { hardware: unknown[]; max_hourly_usd: number | null }) => [
      one.hardware.length,
      one.max_hourly_usd,
    ]),
    [
      [1, null],
      [2, 9.5],
    ],
  )
  const [changed] = (await world.call('GET', '/deployments/thrifty/events?type=deployment.changed')).json.data
  assert.deepEqual(changed.data.changed.sort(), ['hardware', 'maxHourlyUsd'])
  await remove('thrifty')
})

test('PATCH: a type alone takes the place of a list; a count or a region alone needs one choice', async () => {
  const made = await create('patched', { hardware: [{ gpu_type: 'h100' }, { gpu_type: 'mi300x', gpu_count: 2 }] })
  assert.equal(made.status, 201, made.text)
  const vague = await patch('patched', { gpu_count: 2 })
  assert.deepEqual([vague.status, vague.json.error.code], [400, 'invalid_request'])
  assert.match(vague.json.error.message, /list of hardware/)
  const one = await patch('patched', { gpu_type: 'mi300x' })
  assert.deepEqual(
    one.json.hardware.map((choice: Record<string, unknown>) => [choice.gpu_type, choice.gpu_count, choice.region]),
    [['mi300x', 1, null]],
  )
  assert.equal((await patch('patched', { gpu_count: 2, region: 'nyc2' })).json.gpu_count, 2)
  assert.equal((await patch('patched', { engine: { max_num_seqs: 3 } })).json.region, 'nyc2', 'the rest stays')
  await remove('patched')
})

const h100 = { gpu_type: 'h100' }
const wrong: [what: string, body: object, status: number, says: RegExp][] = [
  ['an empty list', { hardware: [] }, 400, /hardware: must have at least 1 item;/],
  ['nine choices', { hardware: Array(9).fill(h100) }, 400, /hardware: must have at most 8 items/],
  [
    'a choice twice',
    { hardware: [h100, { gpu_type: 'cpu' }, { ...h100, gpu_count: 1, region: null }] },
    400,
    /hardware\[2\]: is the same as hardware\[0\]/,
  ],
  [
    'an unknown type',
    { hardware: [h100, { gpu_type: 'tpu' }] },
    422,
    /hardware\[1\]\.gpu_type: There is no hardware type "tpu"/,
  ],
  ['a type without a price', { hardware: [{ gpu_type: 'h200' }] }, 422, /hardware\[0\]\.gpu_type: .*has no price/],
  [
    'a count that is not offered',
    { hardware: [h100, { ...h100, gpu_count: 3 }] },
    422,
    /hardware\[1\]\.gpu_count: .*1, 2, 4/,
  ],
  ['a region that there is not', { hardware: [{ ...h100, region: 'mars' }] }, 422, /hardware\[0\]\.region: .*"mars"/],
  ['an unknown field', { hardware: [{ ...h100, gpus: 2 }] }, 400, /Unknown field "hardware\[0\]\.gpus"/],
  ['no type', { hardware: [{ gpu_count: 1 }] }, 400, /hardware\[0\]\.gpu_type: is required/],
  ['a text', { hardware: 'h100' }, 400, /hardware: must be a list/],
  ['no hardware at all', {}, 400, /gpu_type: is required/],
  ['a negative ceiling', { ...h100, max_hourly_usd: -1 }, 400, /max_hourly_usd: must be at least 0/],
  [
    'seven decimal places',
    { ...h100, max_hourly_usd: 4.4100001 },
    400,
    /max_hourly_usd: must have at most six decimal places/,
  ],
  ['a tiny ceiling', { ...h100, max_hourly_usd: 1e-9 }, 400, /six decimal places/],
  ['a ceiling as text', { ...h100, max_hourly_usd: '5' }, 400, /max_hourly_usd: must be a number; seen: "5"/],
  [
    'a ceiling for two',
    { ...h100, replicas: 2, max_hourly_usd: 8 },
    422,
    /cheapest choice costs \$8\.82 an hour for 2 replicas/,
  ],
  ['fail_fast as text', { ...h100, fail_fast: 'yes' }, 400, /fail_fast: must be true or false/],
]
for (const [what, body, status, says] of wrong)
  test(`hardware with ${what}: ${status}`, async () => {
    const answer: Answer = await create('wrong', body)
    assert.equal(answer.status, status, answer.text)
    assert.match(answer.json.error.message, says)
    assert.equal((await world.call('GET', '/deployments/wrong')).status, 404)
  })

test('fail_fast with something else than true or false on start and wake: 400', async () => {
  for (const verb of ['start', 'wake']) {
    const answer = await world.call('POST', `/deployments/any/${verb}`, { body: { fail_fast: 1 } })
    assert.equal(answer.status, 400, answer.text)
    assert.match(answer.json.error.message, /fail_fast: must be true or false/)
  }
})
