/** What a local replica survives and what it does not: real keepers, real processes, signals at the worst moments. */
import { strict as assert } from 'node:assert'
import { spawn } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { ReplicaId } from '../../kernel/ids.ts'
import { systemClock } from '../../runtime/clock.ts'
import { runsAsRoot } from '../../runtime/isolation.ts'
import { signalProcess } from '../../runtime/processes.ts'
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
    signalProcess(running.keeper, 'SIGKILL')
    const exit = await fleet.exited(running.id)
    assert.match(exit.why, /keeper/)
    await fleet.gone(running.engine)
    assert.equal((await fleet.again().observe(running.id)).state, 'exited')
  }
})

test('an engine whose keeper is told to end gets SIGTERM, and SIGKILL after its grace', async () => {
  const fleet = fleetOf()
  const [obeys, ignores] = [await fleet.answering(), await fleet.answering(['--ignore-term'])]
  await fleet.local.delete(obeys.id, { graceSeconds: 5 })
  await fleet.local.delete(ignores.id, { graceSeconds: 1 })
  await Promise.all([fleet.gone(obeys.engine), fleet.gone(ignores.engine)])
})

test('without renewals a replica ends by itself; with them it stays', async () => {
  const fleet = fleetOf({ leaseSeconds: 2 })
  const [kept, left] = [await fleet.answering(), await fleet.answering()]
  const stop = new AbortController()
  const renewing = (async () => {
    while (!stop.signal.aborted) {
      await fleet.local.renew([kept.id])
      await systemClock.sleep(300, stop.signal)
    }
  })()
  const exit = await fleet.exited(left.id)
  assert.match(exit.why, /renew/)
  await fleet.gone(left.engine)
  assert.equal((await fleet.local.observe(kept.id)).state, 'running')
  stop.abort()
  await renewing
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
  const rounds = Number(process.env.KILLS ?? 8)
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
    assert.equal(fleet.processes('engine', id).length, 1, `round ${round}`)
    assert.equal(fleet.processes('keeper', id).length, 1, `round ${round}`)
    await fleet.deleted(id)
  }
})

test('a run folder that somebody removed takes its engine along', async () => {
  const fleet = fleetOf()
  const running = await fleet.answering()
  const { rmSync } = await import('node:fs')
  rmSync(join(fleet.options.folder, running.id), { recursive: true })
  await fleet.until('the stray engine is gone', async () => {
    await fleet.local.sweep()
    return fleet.processes('engine', running.id).length === 0
  })
  assert.equal((await fleet.local.observe(running.id)).state, 'not_found')
})

test('an engine has an account of its own and cannot read what is not its own', { skip: needsRoot }, async () => {
  const fleet = fleetOf()
  const [one, two] = [await fleet.answering(), await fleet.answering()]
  const facts = async (url: string) =>
    (await (await fetch(`${url}/facts`)).json()) as { uid: number; env: Record<string, string> }
  const [a, b] = [await facts(one.url), await facts(two.url)]
  assert.ok(a.uid > 0 && b.uid > 0 && a.uid !== b.uid)
  const secret = join(fleet.base, 'data', 'operator-key')
  writeFileSync(secret, 'sk_secret', { mode: 0o600 })
  const socket = join(fleet.base, 'data', 'control.sock')
  const server = createServer().listen(socket)
  await new Promise((done) => server.once('listening', done))
  chmodSync(socket, 0o600)
  const from = async (path: string) => (await fetch(`${one.url}/try?path=${encodeURIComponent(path)}`)).text()
  assert.equal(await from(join(fleet.base, 'data')), 'EACCES')
  assert.equal(await from(secret), 'EACCES')
  assert.equal(await from(join(fleet.options.folder, two.id)), 'EACCES')
  assert.equal(await from(`/proc/${two.engine.pid}/environ`), 'EACCES')
  assert.equal(await from(`/proc/${two.keeper.pid}/environ`), 'EACCES')
  assert.equal(await (await fetch(`${one.url}/connect?path=${encodeURIComponent(socket)}`)).text(), 'EACCES')
  server.close()
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

test('below a folder that only root may enter, engines start all the same', { skip: needsRoot }, async () => {
  const fleet = fleetOf()
  const closed = join(fleet.base, 'closed')
  mkdirSync(closed, { mode: 0o700 })
  const weights = join(closed, 'weights.gguf')
  writeFileSync(weights, 'weights', { mode: 0o600 })
  const order = fleet.order()
  await fleet.local.create({ ...order, model: { ...order.model, path: weights } })
  const running = await fleet.running(order.id)
  const line = readFileSync(`/proc/${running.engine.pid}/cmdline`, 'utf8').split('\0')
  const placed = line[line.indexOf('--model') + 1]!
  assert.notEqual(placed, weights)
  await fleet.until('it answers', () =>
    fetch(`${running.url}/health`).then(
      (r) => r.ok,
      () => false,
    ),
  )
  assert.equal(await (await fetch(`${running.url}/try?path=${encodeURIComponent(placed)}`)).text(), 'yes: 7')
})
