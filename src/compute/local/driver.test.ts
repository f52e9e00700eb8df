/** What a local replica survives and what it does not: real keepers, real processes, signals at the worst moments. */
import { strict as assert } from 'node:assert'
import { spawn } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { ReplicaId } from '../../kernel/ids.ts'
import { type Clock, systemClock } from '../../runtime/clock.ts'
import { runsAsRoot } from '../../runtime/isolation.ts'
import { isAlive, signalProcess } from '../../runtime/processes.ts'
import { LocalCompute } from './driver.ts'
import { TestFleet } from './testing/fleet.ts'

const fleets: TestFleet[] = []
function fleetOf(...options: ConstructorParameters<typeof TestFleet>): TestFleet {
  const fleet = new TestFleet(...options)
  fleets.push(fleet)
  return fleet
}
after(async () => {
  for (const fleet of fleets) await fleet.dispose()
})

const clockAhead = (ms: number): Clock => ({ ...systemClock, now: () => systemClock.now() + ms })
const needsRoot = runsAsRoot() ? false : 'engines have accounts of their own only under root'

test('a killed engine: its keeper records when, and by which signal', async () => {
  const fleet = fleetOf()
  const running = await fleet.answering()
  const killedAt = Date.now()
  signalProcess(running.engine, 'SIGKILL')
  const exit = await fleet.exited(running.id)
  assert.equal(exit.signal, 'SIGKILL')
  assert.ok(Math.abs(exit.at - killedAt) < 1_000)
  await fleet.gone(running.keeper)
})

test('a killed keeper: its engine goes too, and the next look records the end', async () => {
  for (const flags of [[], ['--ignore-stdin', '--ignore-term']]) {
    const fleet = fleetOf()
    const running = await fleet.answering(flags)
    // It answers before its words have gone through the keeper to the disk.
    await fleet.until('its first line is kept', async () => (await fleet.local.logs(running.id, 1)).length > 0)
    signalProcess(running.keeper, 'SIGKILL')
    const killedAt = systemClock.now()
    // Not a look at the driver: the engine ends because its keeper did.
    await fleet.gone(running.engine)
    const late = new LocalCompute({ ...fleet.options, clock: clockAhead(3_600_000) })
    const seen = await late.observe(running.id)
    assert.ok(seen.state === 'exited')
    assert.match(seen.exit.why, /keeper/)
    assert.ok(Math.abs(seen.exit.at - killedAt) < 3_000, 'the time of its death, not of its discovery')
    assert.deepEqual(seen.exit.lastLines.slice(0, 1), [`listening as ${running.engine.pid}`])
    assert.deepEqual(await fleet.local.observe(running.id), seen)
  }
})

test('without setpriv: an engine ends by its closed stdin, one that ignores it by the next look', async () => {
  const fleet = fleetOf()
  const path = process.env.PATH
  process.env.PATH = fleet.base
  const [heeds, ignores] = await Promise.all([fleet.answering(), fleet.answering(['--ignore-stdin'])])
  process.env.PATH = path
  signalProcess(heeds.keeper, 'SIGKILL')
  signalProcess(ignores.keeper, 'SIGKILL')
  await fleet.gone(heeds.engine)
  assert.ok(isAlive(ignores.engine), 'the test can fail')
  await fleet.local.sweep()
  assert.ok(!isAlive(ignores.engine))
  for (const { id } of [heeds, ignores]) assert.match((await fleet.exited(id)).why, /keeper was killed/)
})

test('a keeper is deaf to what a terminal sends', async () => {
  const fleet = fleetOf()
  const running = await fleet.answering()
  for (const signal of ['SIGHUP', 'SIGINT'] as const) signalProcess(running.keeper, signal)
  // Signals are handled in order: once it has heard this one, the others are behind it.
  await fleet.local.delete(running.id)
  assert.match((await fleet.exited(running.id)).why, /as asked/)
})

test('a keeper that hangs is killed once the grace is long over', async () => {
  const fleet = fleetOf()
  const running = await fleet.answering()
  signalProcess(running.keeper, 'SIGSTOP')
  await fleet.local.delete(running.id, { graceSeconds: 0 })
  assert.equal((await fleet.local.observe(running.id)).state, 'running')
  const later = new LocalCompute({ ...fleet.options, clock: clockAhead(60_000) })
  await fleet.until('it is gone', async () => {
    await later.delete(running.id)
    return (await later.observe(running.id)).state === 'not_found'
  })
  await Promise.all([fleet.gone(running.keeper), fleet.gone(running.engine)])
})

test('a shutdown ends all at once and leaves a record of each', async () => {
  const fleet = fleetOf()
  const ran = await Promise.all([fleet.answering(), fleet.answering(['--ignore-term'])])
  assert.deepEqual(await fleet.local.endAll({ graceSeconds: 0.5 }), [])
  for (const { id, engine, keeper } of ran) {
    assert.ok(!isAlive(engine) && !isAlive(keeper))
    assert.match((await fleet.exited(id)).why, /as asked/)
  }
})

test('what an engine started goes with it, also from a session of its own', async () => {
  const fleet = fleetOf()
  const running = await fleet.answering(['--child'])
  await fleet.until('the child runs', () => fleet.processes('engine', running.id).length === 2)
  await fleet.deleted(running.id)
  assert.equal(fleet.processes('engine', running.id).length, 0)
})

test('a record that a power cut damaged is an end, not a riddle', async () => {
  const fleet = fleetOf()
  const { id } = await fleet.start()
  await fleet.local.endAll({ graceSeconds: 0 })
  rmSync(fleet.run(id).file('exit.json'))
  writeFileSync(fleet.run(id).file('keeper.json'), '')
  assert.match((await fleet.exited(id)).why, /crashed/)
  await fleet.local.create(fleet.order([], { id }))
  assert.equal(fleet.processes('keeper', id).length, 0)
})

test('what cannot be started says why and leaves nothing', async () => {
  const fleet = fleetOf()
  const order = fleet.order([], {
    launch: () => {
      throw new Error('this engine needs a GPU')
    },
  })
  await assert.rejects(fleet.local.create(order), { meaning: 'rejected', message: /needs a GPU/ })
  assert.deepEqual(await fleet.local.list(), [])
  const path = join(fleet.base, 'missing.gguf')
  const noFile = fleet.order([], { model: { ...order.model, path } })
  if (!needsRoot) await assert.rejects(fleet.local.create(noFile), { meaning: 'unavailable', message: /missing.gguf/ })
  const outside = '../../etc' as ReplicaId
  await assert.rejects(fleet.local.observe(outside), { meaning: 'rejected' })
  const gone = fleet.order([], { launch: () => ({ argv: ['/no/engine'], env: {}, image: null, stopGraceSeconds: 1 }) })
  await fleet.local.create(gone)
  assert.match((await fleet.exited(gone.id)).why, /could not be started/)
})

test('without renewals a replica ends by itself; with them it stays', async () => {
  const fleet = fleetOf({ leaseSeconds: 4 })
  const order = fleet.order()
  const stop = new AbortController()
  const renewing = (async () => {
    while (!stop.signal.aborted) {
      await fleet.local.renew([order.id])
      await systemClock.sleep(300, stop.signal)
    }
  })()
  try {
    await fleet.local.create(order)
    const left = await fleet.answering()
    const exit = await fleet.exited(left.id)
    assert.match(exit.why, /renew/)
    await fleet.gone(left.engine)
    assert.equal((await fleet.local.observe(order.id)).state, 'running')
  } finally {
    stop.abort()
    await renewing
  }
})

test('whoever comes next adopts: same engine, same port, no restart', async () => {
  const fleet = fleetOf()
  const running = await fleet.answering()
  const other = fleet.again()
  const seen = await other.observe(running.id)
  assert.equal(seen.state === 'running' && `http://${seen.address}:${seen.port}`, running.url)
  await other.create(fleet.order([], { id: running.id }))
  assert.equal(fleet.processes('engine', running.id).length, 1)
  assert.deepEqual(await other.list(), [running.id])
})

test('a creator killed at any moment: the next create gives exactly one engine', async () => {
  const fleet = fleetOf({ cpuSlots: 64 })
  const program = join(fleet.base, 'creator.mjs')
  const driver = join(import.meta.dirname, 'driver.ts')
  const { clock: _clock, probeGpus: _probe, ...options } = fleet.options
  const order = fleet.order([])
  writeFileSync(
    program,
    `import { LocalCompute } from ${JSON.stringify(driver)}
     const options = ${JSON.stringify(options)}
     const engine = ${JSON.stringify(order.model.path)}
     const local = new LocalCompute({ ...options, probeGpus: async () => [] })
     process.send('ready')
     await new Promise((go) => process.once('message', go))
     await local.create({ ...${JSON.stringify({ ...order, launch: undefined })}, id: process.argv[2], launch: (host) => ({
       argv: [host.node, engine, '--port', String(host.port)], env: {}, image: null, stopGraceSeconds: 1 }) })`,
  )
  const rounds = Number(process.env.KILLS ?? 6)
  for (let round = 0; round < rounds; round += 1) {
    const id = `rep_creator${round}` as ReplicaId
    const child = spawn(process.execPath, [program, id], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    const ended = new Promise((done) => child.once('exit', done))
    await new Promise((ready) => child.once('message', ready))
    child.send('go')
    await systemClock.sleep((round * 90) / rounds)
    child.kill('SIGKILL')
    await ended
    await fleet.local.create(fleet.order([], { id }))
    await fleet.running(id)
    // A keeper that the killed creator started may still be finding out that it came second.
    await fleet.until('one keeper is left', () => fleet.processes('keeper', id).length === 1)
    assert.equal(fleet.processes('engine', id).length, 1, `round ${round}`)
    await fleet.deleted(id)
  }
})

test('an engine’s environment holds the allow-list and what its launch gives, nothing of ours', async () => {
  process.env.PADDOCK_TEST_SECRET = 'do not pass on'
  const fleet = fleetOf()
  const running = await fleet.answering()
  delete process.env.PADDOCK_TEST_SECRET
  const { env } = (await (await fetch(`${running.url}/facts`)).json()) as { env: Record<string, string> }
  assert.ok(!Object.values(env).includes('do not pass on'))
  assert.equal(env.PADDOCK_TEST_SECRET, undefined)
})
