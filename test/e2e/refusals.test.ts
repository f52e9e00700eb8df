/** A start that cannot be is refused with one clear sentence, a status other than 0, and nothing changed. */
import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Server as NetServer } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { runsAsRoot } from '../../src/runtime/isolation.ts'
import { Run, type Server, type StartOptions, startServer } from './harness.ts'
import { inNewPlace, Place } from './place.ts'

/** Starts, expects the refusal, and gives its sentence. */
async function refusal(place: Place, options: StartOptions): Promise<string> {
  const run = new Run(place, options)
  const ended = await run.end()
  assert.equal(ended.signal, null, run.output)
  assert.ok(ended.status !== null && ended.status > 0, `status ${ended.status}: ${run.output}`)
  assert.ok(!/\n\s+at /.test(run.output), `no stack trace: ${run.output}`)
  return run.output.trim()
}

describe('a start that is refused', () => {
  it('when the port is taken: nothing is made', async () => {
    const other: NetServer = createServer()
    await new Promise<void>((done) => other.listen(0, '127.0.0.1', done))
    const { port } = other.address() as { port: number }
    await inNewPlace(async (place) => {
      const said = await refusal(place, { port })
      assert.match(said, new RegExp(`^paddock: Port ${port} on 127\\.0\\.0\\.1 is taken`))
      assert.equal(said.split('\n').length, 1, said)
      assert.ok(!existsSync(place.dataFolder))
    })
    await new Promise((done) => other.close(done))
  })

  it('when the data folder is a file', async () => {
    await inNewPlace(async (place) => {
      writeFileSync(place.dataFolder, 'a file')
      const said = await refusal(place, {})
      assert.match(said, /^paddock: The data folder .* cannot be used: it is not a folder\./)
      assert.equal(said.split('\n').length, 1, said)
    })
  })

  it('when the data folder may not be written', async () => {
    await inNewPlace(async (place) => {
      // Root may write everywhere but where the kernel says no.
      const data = runsAsRoot() ? '/proc/paddock' : place.dataFolder
      if (!runsAsRoot()) {
        mkdirSync(data)
        chmodSync(data, 0o500)
      }
      const said = await refusal(place, { args: ['--data', data] })
      assert.match(said, /^paddock: The data folder .* cannot be used: /)
      assert.equal(said.split('\n').length, 1, said)
    })
  })

  it('when the configuration is damaged: every problem with its fix, at once', async () => {
    await inNewPlace(async (place) => {
      const file = join(place.root, 'paddock.yaml')
      writeFileSync(file, 'fleet: cloudy\nprot: 9000\nhold:\n  max_seconds: soon\n')
      const said = await refusal(place, { args: ['--config', file], env: { PADDOCK_COMPUTE_LOCAL_CPU_SLOTS: 'lots' } })
      for (const name of ['fleet', 'prot', 'hold.max_seconds', 'PADDOCK_COMPUTE_LOCAL_CPU_SLOTS'])
        assert.ok(said.includes(name), `${name} in: ${said}`)
      assert.ok(!existsSync(place.dataFolder))
    })
  })

  it('when the configuration cannot be read', async () => {
    await inNewPlace(async (place) => {
      const file = join(place.root, 'paddock.yaml')
      writeFileSync(file, 'fleet: [local\n')
      assert.match(await refusal(place, { args: ['--config', file] }), /cannot be read as YAML/)
      assert.match(await refusal(place, { args: ['--config', join(place.root, 'none.yaml')] }), /none\.yaml/)
      assert.ok(!existsSync(place.dataFolder))
    })
  })

  it('when the operator’s key is too short', async () => {
    await inNewPlace(async (place) => {
      const said = await refusal(place, { env: { PADDOCK_OPERATOR_KEY: 'short' } })
      assert.match(said, /^paddock: PADDOCK_OPERATOR_KEY must have/)
      assert.ok(!existsSync(place.dataFolder))
    })
  })
})

describe('a data folder that is in use', () => {
  const place = new Place()
  let server: Server

  before(async () => {
    server = await startServer(place)
  })
  after(async () => {
    try {
      await server?.stop()
    } finally {
      await place.remove()
    }
  })

  it('is refused to another Paddock, which changes nothing; the first goes on', async () => {
    const listing = () => readdirSync(place.dataFolder).sort().join()
    const before = listing()
    const said = await refusal(place, {})
    assert.match(said, /^paddock: The data folder .* is in use by another Paddock/)
    assert.equal(said.split('\n').length, 1, said)
    assert.equal(listing(), before)
    assert.match(await refusal(place, { port: server.port }), /is taken|in use/)
    assert.equal((await server.native.listDeployments()).data.length, 0)
    assert.equal(server.run.isOver, false)
  })

  it('is its owner’s alone, and so is the key in it', () => {
    assert.equal(statSync(place.dataFolder).mode & 0o777, 0o700)
    for (const name of ['operator-key', 'secret-key'])
      assert.equal(statSync(join(place.dataFolder, name)).mode & 0o777, 0o600, name)
    assert.ok(server.run.output.includes(server.operatorKey), 'the first start shows the key')
  })
})
