/** Under root every engine has a uid of its own: what it can reach, and that it still finds all that it needs. */
import assert from 'node:assert/strict'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { after, describe, test } from 'node:test'
import { runsAsRoot } from '../../runtime/isolation.ts'
import { packageRoot, runsFromSource } from '../../runtime/self.ts'
import { type Running, TestFleet } from './testing/fleet.ts'

const fleets: TestFleet[] = []
function fleetOf(...options: ConstructorParameters<typeof TestFleet>): TestFleet {
  const fleet = new TestFleet(...options)
  fleets.push(fleet)
  return fleet
}
after(async () => {
  for (const fleet of fleets) await fleet.dispose()
})

const ask = async ({ url }: Running, route: string, path = '') =>
  (await fetch(`${url}/${route}?path=${encodeURIComponent(path)}`)).text()
const tryRead = (running: Running, path: string) => ask(running, 'try', path)
const facts = async (running: Running) =>
  JSON.parse(await ask(running, 'facts')) as { uid: number; cwd: string; env: Record<string, string> }

function argument(running: Running, name: string): string {
  const line = readFileSync(`/proc/${running.engine.pid}/cmdline`, 'utf8').split('\0')
  return line[line.indexOf(name) + 1]!
}

function programOf(running: Running): string {
  return readFileSync(`/proc/${running.engine.pid}/cmdline`, 'utf8').split('\0')[0]!
}

const needsRoot = runsAsRoot() ? false : 'engines have accounts of their own only under root'

describe('under root', { skip: needsRoot }, () => {
  test('an engine reads neither our data, nor a socket, nor another engine', async () => {
    const fleet = fleetOf()
    const [one, two] = await Promise.all([fleet.answering(), fleet.answering()])
    const [a, b] = await Promise.all([facts(one), facts(two)])
    assert.ok(a.uid > 0 && b.uid > 0 && a.uid !== b.uid)

    const secret = join(fleet.base, 'data', 'operator-key')
    writeFileSync(secret, 'sk_secret', { mode: 0o644 })
    for (const path of [join(fleet.base, 'data'), secret, fleet.run(one.id).path, fleet.run(two.id).file('order.json')])
      assert.equal(await tryRead(one, path), 'EACCES', path)
    for (const path of [`/proc/${two.engine.pid}/environ`, `/proc/${two.keeper.pid}/environ`, b.cwd, dirname(b.cwd)])
      assert.equal(await tryRead(one, path), 'EACCES', path)
    assert.match(await tryRead(one, a.cwd), /^yes/, 'its own working folder')

    // In a folder that everybody may pass through, so that only the socket's own mode protects it.
    const socket = join(fleet.base, 'control.sock')
    const server = createServer().listen(socket)
    await new Promise((done) => server.once('listening', done))
    chmodSync(socket, 0o600)
    assert.equal(await ask(one, 'connect', socket), 'EACCES')
    chmodSync(socket, 0o666)
    assert.equal(await ask(one, 'connect', socket), 'yes', 'the test can fail')
    server.close()
  })

  test('weights that others may not read are copied once, for their engines only, and cleared up', async () => {
    const fleet = fleetOf({ unusedWeightsSeconds: 0 })
    const path = closedFile(fleet, 0o600)
    const model = { ...fleet.order().model, path }
    const [one, two] = await Promise.all([fleet.answering([], { model }), fleet.answering([], { model })])
    const other = await fleet.answering()
    const [placed, placedToo] = [argument(one, '--model'), argument(two, '--model')]
    assert.equal(await tryRead(one, placed), 'yes: 7')
    assert.equal(await tryRead(other, placed), 'EACCES')
    assert.equal(await tryRead(two, placed), 'EACCES', 'each has a folder of its own')
    assert.equal(statSync(placed).ino, statSync(placedToo).ino, 'and both are the same file')
    assert.notEqual(statSync(placed).ino, statSync(path).ino)
    assert.equal(statSync(path).mode & 0o777, 0o600, 'nothing is changed at the source')

    await fleet.local.sweep()
    assert.ok(existsSync(placed), 'what is in use stays')
    await Promise.all([fleet.deleted(one.id), fleet.deleted(two.id)])
    assert.equal((await fleet.local.sweep()).removedWeights.length, 1)
    assert.deepEqual((await fleet.local.sweep()).removedWeights, [])
  })

  test('weights that everybody may read, in a closed folder, are linked, not copied', async () => {
    const fleet = fleetOf()
    const path = closedFile(fleet, 0o644)
    const running = await fleet.answering([], { model: { ...fleet.order().model, path } })
    const placed = argument(running, '--model')
    assert.equal(statSync(placed).ino, statSync(path).ino)
    assert.equal(await tryRead(running, placed), 'yes: 7')
    assert.equal(await tryRead(running, path), 'EACCES')
    await fleet.deleted(running.id)
    assert.equal(statSync(path).nlink, 1)
  })

  test('a folder of weights, links and split files included, arrives whole', async () => {
    const fleet = fleetOf()
    const folder = join(dirname(closedFile(fleet, 0o600)), 'snapshot')
    mkdirSync(join(folder, 'tokenizer'), { recursive: true })
    for (const name of ['config.json', 'tokenizer/vocab.json', 'm-00001-of-00002.gguf', 'm-00002-of-00002.gguf'])
      writeFileSync(join(folder, name), name, { mode: 0o600 })
    const model = { ...fleet.order().model, format: 'safetensors' as const, path: folder }
    const whole = await fleet.answering([], { model })
    const placed = argument(whole, '--model')
    assert.deepEqual(readdirSync(placed, { recursive: true }).sort(), readdirSync(folder, { recursive: true }).sort())
    assert.equal(await tryRead(whole, join(placed, 'tokenizer', 'vocab.json')), 'yes: 20')

    const split = { ...model, format: 'gguf' as const, path: join(folder, 'm-00001-of-00002.gguf') }
    const parts = await fleet.answering([], { model: split })
    const first = argument(parts, '--model')
    assert.match(await tryRead(parts, first), /^yes/)
    assert.match(await tryRead(parts, first.replace('00001-of', '00002-of')), /^yes/)
  })

  test('a clone that only root may enter: engines run from a copy, of which there is one', async () => {
    const fleet = fleetOf()
    const clone = closedClone(fleet)
    const closed = fleetOf({ packageRoot: clone, node: join(clone, 'node'), systemFolder: fleet.options.systemFolder })
    const launch = closed.order().launch
    const order = closed.order([], {
      launch: (host) => {
        const program = join(host.packageRoot, ownRoot, 'engines', 'engine.mjs')
        const [node, , ...rest] = launch(host).argv
        return { ...launch(host), argv: [node!, program, ...rest] }
      },
    })
    await closed.local.create(order)
    await closed.local.create({ ...closed.order([], { launch: order.launch }) })
    const running = await closed.running(order.id)
    await closed.until('it answers', () =>
      ask(running, 'health')
        .then((text) => text === 'ok')
        .catch(() => false),
    )
    const copies = readdirSync(join(fleet.base, 'system', 'runtime'))
    assert.equal(copies.length, 1)
    assert.ok(programOf(running).startsWith(join(fleet.base, 'system', 'runtime', copies[0]!)))
    assert.equal(await tryRead(running, clone), 'EACCES')
  })

  test('a system folder that engines cannot reach is said, not tried', async () => {
    const fleet = fleetOf()
    chmodSync(fleet.base, 0o700)
    await assert.rejects(fleet.local.create(fleet.order()), {
      meaning: 'unavailable',
      message: /closed to other users/,
    })
    assert.deepEqual(await fleet.local.list(), [])
    chmodSync(fleet.base, 0o711)
  })
})

const ownRoot = runsFromSource ? 'src' : 'dist'

/** `weights`, in a folder that only root may enter. */
function closedFile(fleet: TestFleet, mode: number): string {
  const closed = join(fleet.base, 'closed')
  mkdirSync(closed, { mode: 0o700 })
  const path = join(closed, 'model.gguf')
  writeFileSync(path, 'weights', { mode })
  chmodSync(path, mode)
  return path
}

/** As much of this package as engines and keepers need, with the test's engine where engines are. */
function closedClone(fleet: TestFleet): string {
  const clone = join(fleet.base, 'clone')
  mkdirSync(clone, { mode: 0o700 })
  for (const part of [
    'package.json',
    ...['kernel', 'runtime', 'engines', 'compute'].map((name) => join(ownRoot, name)),
  ])
    cpSync(join(packageRoot, part), join(clone, part), { recursive: true })
  cpSync(join(import.meta.dirname, 'testing', 'engine.mjs'), join(clone, ownRoot, 'engines', 'engine.mjs'))
  copyFileSync(process.execPath, join(clone, 'node'))
  chmodSync(join(clone, 'node'), 0o700)
  return clone
}
