/** `serve --fleet simulated` from the first deployment to the last, over deaths of its parts and of all of it. */
import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { makeFolder } from '../../src/runtime/files.ts'
import { instanceId } from '../../src/runtime/instance.ts'
import { isAlive, signalProcess } from '../../src/runtime/processes.ts'
import { Run } from '../e2e/harness.ts'
import { inNewPlace, Place } from '../e2e/place.ts'
import { procOnly } from '../e2e/processes.ts'
import { type Fleet, longMs, startFleet } from './fleet.ts'

describe('the simulated fleet', () => {
  const place = new Place()
  let fleet: Fleet

  before(async () => {
    fleet = await startFleet(place, {}, { args: ['--keep-engines'] })
  })
  after(async () => {
    try {
      await fleet?.server.stop()
    } finally {
      await place.remove()
    }
  })

  it('deploys any model on any hardware, and says everywhere that nothing of it is real', async () => {
    const { native } = fleet.server
    const created = await fleet.deploy('first', 1)
    await fleet.settled('first', 1)
    const [listed] = (await native.listDeployments()).data
    for (const seen of [created, listed!])
      assert.deepEqual([seen.emulated, seen.simulated, seen.served_by], [true, true, 'paddock/simulated'])
    assert.equal(created.engine.type, 'simulated')
    for (const model of (await native.listModels({ deployable: true })).data)
      assert.deepEqual([model.deployable, model.simulated, model.served_by], [true, true, 'paddock/simulated'])
    const h100 = (await native.listGpuTypes()).data.find((type) => type.gpu_type === 'h100')!
    assert.ok(h100.availability!.every((one) => one.emulated && one.simulated))
    assert.ok((await native.listGpuModelConfigs()).data.every((config) => config.simulated))
  })

  it('answers plain and streamed, marked, with exact usage', async () => {
    const client = fleet.server.openai()
    const messages = [{ role: 'user' as const, content: 'Hello there' }]
    const plain = await client.chat.completions.create({ model: 'first', messages, max_tokens: 8 })
    assert.equal(plain.choices[0]!.message.content, 'This answer is simulated: no model has read')
    assert.equal(plain.usage!.completion_tokens, 8)
    const marks = plain as unknown as Record<string, unknown>
    assert.deepEqual([marks.emulated, marks.simulated, marks.served_by], [true, true, 'paddock/simulated'])
    let text = ''
    for await (const part of await client.chat.completions.create({
      model: 'first',
      messages,
      max_tokens: 8,
      stream: true,
    }))
      text += part.choices[0]?.delta.content ?? ''
    assert.equal(text, plain.choices[0]!.message.content)
    const [shown] = (await client.models.list()).data as unknown as Record<string, unknown>[]
    assert.equal(shown!.simulated, true)
  })

  it('scales, rolls, goes back from a revision that does not start, sleeps and wakes', async () => {
    const { native } = fleet.server
    await native.changeScaling('first', { min_replicas: 3, max_replicas: 3 })
    const before = await fleet.settled('first', 3)
    await native.changeDeployment('first', { engine: { max_num_seqs: 2 } })
    const rolled = await until(systemClock, 'the second revision serves alone', longMs, async () => {
      const now = await fleet.settled('first', 3)
      return now.every(({ revision }) => revision === 2) && now
    })
    assert.ok(rolled.every(({ id }) => !before.some((old) => old.id === id)))
    await native.changeDeployment('first', {
      engine: { additional_args: ['--fail-at=load', '--say=CUDA out of memory'] },
    })
    const [failed] = await until(systemClock, 'the third revision is given up', longMs, async () => {
      const { data } = await native.listRevisions('first')
      return data[0]!.failed && data
    })
    assert.match(failed!.failed_why!, /status 1/)
    await fleet.settled('first', 3)
    assert.match(
      (await native.readLogs('first')).data.map(({ lines }) => lines.join('\n')).join('\n'),
      /CUDA out of memory/,
    )
    await native.sleepDeployment('first')
    await until(systemClock, 'nothing is left', longMs, async () => (await fleet.machines()).length === 0)
    assert.equal((await native.getDeployment('first')).hourly_cost_usd, 0)
    assert.match(await fleet.chat('first'), /^This answer is simulated:/)
    await fleet.settled('first', 3)
  })

  it('its process, killed, comes back with the same machines', { skip: procOnly }, async () => {
    const machines = await fleet.machines()
    const killed = place.process('simulated')
    signalProcess(killed, 'SIGKILL')
    await until(systemClock, 'it is gone', longMs, () => !isAlive(killed))
    assert.match(await fleet.chat('first'), /^This answer/)
    assert.deepEqual(await fleet.machines(), machines)
    const [log] = (await fleet.server.native.readLogs('first')).data
    assert.ok(log!.lines.length > 0)
  })

  it('answers while control is dead', { skip: procOnly }, async () => {
    const machines = await fleet.machines()
    signalProcess(place.process('control'), 'SIGKILL')
    assert.match(await fleet.chat('first'), /^This answer/)
    await until(systemClock, 'control is back', longMs, () => fleet.settled('first', 3).catch(() => null))
    assert.deepEqual(await fleet.machines(), machines)
  })

  it('a start after a stop adopts what was kept, and a stop without that ends everything', async () => {
    const machines = await fleet.machines()
    await fleet.server.stop()
    fleet = await startFleet(place)
    await fleet.settled('first', 3)
    assert.deepEqual(await fleet.machines(), machines)
    await fleet.server.stop()
    fleet = await startFleet(place)
    // What the rows say counts until the first look.
    await until(systemClock, 'three new ones', longMs, async () => {
      const now = await fleet.settled('first', 3)
      return now.every(({ id }) => !machines.includes(id))
    })
  })

  it('is removed without a trace', async () => {
    await fleet.server.native.deleteDeployment('first')
    await until(systemClock, 'nothing is left', longMs, async () => (await fleet.machines()).length === 0)
  })
})

describe('a simulated data folder', () => {
  const refused = async (place: Place, args: string[], said: RegExp, env: Record<string, string> = {}) => {
    const run = new Run(place, { args, env })
    const { status } = await run.end(30_000)
    assert.equal(status, 1)
    assert.match(run.output, said)
  }

  it('is simulated for ever or never, and its script is read before anything starts', () =>
    inNewPlace(async (place) => {
      const script = join(place.root, 'script.json')
      writeFileSync(script, '{"troubles": [{"what": "earthquake"}]}')
      const env = { PADDOCK_COMPUTE_SIMULATED_SCRIPT: script }
      await refused(place, ['--fleet', 'simulated'], /script\.json is no script: troubles\.0\.what/, env)
      await refused(place, [], /compute\.simulated\.script is for the simulated fleet/, env)
      makeFolder(join(place.dataFolder, 'simulated'), 0o700)
      await refused(place, [], /belongs to a simulated fleet\. Start it with --fleet simulated/)
      rmSync(place.dataFolder, { recursive: true })
      instanceId(place.dataFolder)
      await refused(place, ['--fleet', 'simulated'], /belongs to a fleet that is not simulated/)
    }))
})
