/**
 * The real server while its hardware is short, slow, failing and lying: it becomes what was wished, has every machine
 * once, and bills none that was not there.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { Place } from '../e2e/place.ts'
import { costOf, type Fleet, longMs, startFleet } from './fleet.ts'

const h100Usd = 4.41

describe('a fleet in trouble', () => {
  const place = new Place()
  let fleet: Fleet
  let phantoms: string[] = []

  before(async () => {
    fleet = await startFleet(place, { units: { h100: 4, mi300x: 6 } })
    // They are swept away while everything else goes on.
    await fleet.trouble({ what: 'phantom', count: 3, gpu_type: 'mi325x' })
    phantoms = await fleet.machines()
  })
  after(async () => {
    try {
      await fleet?.server.stop()
    } finally {
      await place.remove()
    }
  })

  it('short: it serves with what there is, says so, and gets the rest when the shortage ends', async () => {
    const shortage = await fleet.trouble({ what: 'shortage', gpu_type: 'h100', region: 'nyc2', units: 1 })
    await fleet.deploy('short', 3, { region: 'nyc2' })
    const seen = await fleet.server.when(
      'short',
      'serves with one',
      ({ ready_replicas, reason }) => ready_replicas === 1 && reason?.code === 'capacity_short',
      longMs,
    )
    assert.equal(seen.desired_replicas, 3)
    await fleet.chat('short')
    assert.equal((await fleet.machines()).filter((id) => !phantoms.includes(id)).length, 1)
    await fleet.over(shortage)
    await fleet.settled('short', 3)
  })

  it('one crashes, one hangs, one vanishes, all at once: each is replaced, and billed to its last moment', async () => {
    const victims = await fleet.settled('short', 3)
    const [crashed, hung, lost] = victims.map(({ id }) => id) as [string, string, string]
    const askedAt = systemClock.now()
    await fleet.trouble({ what: 'crash', replica_id: crashed, exit_code: 9, say: ['last words'] })
    await fleet.trouble({ what: 'hang', replica_id: hung })
    await fleet.trouble({ what: 'vanish', replica_id: lost })
    const doneAt = systemClock.now()
    assert.match(await fleet.chat('short'), /^This answer/)
    const others = await until(systemClock, 'three others serve', longMs, async () => {
      const now = await fleet.settled('short', 3)
      return now.every(({ id }) => !victims.some((victim) => victim.id === id)) && now
    })
    const gone = new Map((await fleet.replicas('short')).map((replica) => [replica.id, replica]))
    const why = (id: string) => gone.get(id)?.exit?.why ?? ''
    const endedAt = (id: string) => Date.parse(gone.get(id)?.ended_at ?? '')
    assert.match(why(crashed), /status 9/)
    assert.equal(gone.get(crashed)?.exit?.last_lines.at(-1), 'last words')
    assert.ok(endedAt(crashed) >= askedAt && endedAt(crashed) <= doneAt, 'dated by its end, not by when it was found')
    assert.match(why(lost), /no longer knows/)
    assert.ok(endedAt(hung) >= askedAt)
    // Its provider says nothing of its end: the last moment at which it was seen to run counts.
    assert.ok(endedAt(lost) >= askedAt - 5_000 && endedAt(lost) <= doneAt, 'not when it was missed')
    assert.equal(others.length, 3)
    await fleet.server.native.deleteDeployment('short')
  })

  it('replies lost, creates delivered twice, late answers: every replica is one machine', async () => {
    const troubles = await Promise.all([
      fleet.trouble({ what: 'lost_reply', call: 'create', times: 3 }),
      fleet.trouble({ what: 'lost_reply', call: 'delete', times: 2 }),
      fleet.trouble({ what: 'create_twice', after_seconds: 0.5 }),
      fleet.trouble({ what: 'slow_reply', call: 'create', seconds: 0.3, chance: 0.5 }),
    ])
    const { id } = await fleet.deploy('lied-to', 6, { gpu_type: 'mi300x', region: 'nyc2' })
    await fleet.settled('lied-to', 6)
    await fleet.server.native.changeScaling('lied-to', { min_replicas: 2, max_replicas: 2 })
    await fleet.settled('lied-to', 2)
    await fleet.server.native.deleteDeployment(id)
    await fleet.server.gone(id, longMs)
    for (const trouble of troubles.slice(0, 3)) assert.ok((await fleet.struck(trouble)) > 0, `${trouble} struck`)
    for (const trouble of troubles) await fleet.over(trouble)
    const replicas = await fleet.replicas(id)
    const { cost_usd } = await fleet.server.native.getDeployment(id)
    assert.ok(Math.abs(cost_usd - costOf(replicas, 2.59)) < 2e-6, `${cost_usd} is what its replicas’ own times come to`)
  })

  it('slow and failing starts: nothing is billed for them, and the brake holds until somebody starts it', async () => {
    const { native } = fleet.server
    const failing = await fleet.trouble({ what: 'failing_start', gpu_type: 'h100', region: 'tor1', say: ['no luck'] })
    const { id } = await fleet.deploy('unlucky', 1, { region: 'tor1' })
    const failed = await fleet.server.when('unlucky', 'is failed', ({ phase }) => phase === 'failed', longMs)
    assert.equal(failed.cost_usd, 0)
    assert.match(failed.reason!.message, /status 1/)
    await fleet.over(failing)
    const slow = await fleet.trouble({ what: 'slow_start', gpu_type: 'h100', factor: 20 })
    await native.startDeployment('unlucky')
    const [only] = await fleet.settled('unlucky', 1)
    assert.ok(Date.parse(only!.ready_at!) - Date.parse(only!.created_at) >= 2_000, 'twenty times a tenth of a second')
    await fleet.over(slow)
    await native.deleteDeployment(id)
    const gone = await fleet.server.gone(id, longMs)
    const replicas = await fleet.replicas(id)
    assert.ok(replicas.length >= 6)
    assert.deepEqual(
      replicas.filter(({ ready_at }) => ready_at !== null).map((one) => one.id),
      [only!.id],
    )
    assert.ok(Math.abs(gone.cost_usd - costOf(replicas, h100Usd)) < 2e-6, 'the one that served is all that costs')
  })

  it('the provider is away: what serves goes on, and what was wished meanwhile is done after', async () => {
    const { native } = fleet.server
    await fleet.deploy('patient', 1, { region: 'ric1' })
    const [first] = await fleet.settled('patient', 1)
    const away = await fleet.trouble({ what: 'unavailable' })
    await native.changeScaling('patient', { min_replicas: 3, max_replicas: 3 })
    await fleet.deploy('newcomer', 1, { region: 'ric1' })
    await until(systemClock, 'it was asked in vain', longMs, async () => (await fleet.struck(away)) >= 10)
    assert.match(await fleet.chat('patient'), /^This answer/)
    assert.equal((await native.getDeployment('patient')).ready_replicas, 1)
    await fleet.over(away)
    const three = await fleet.settled('patient', 3)
    assert.ok(
      three.some(({ id }) => id === first!.id),
      'nobody was replaced for want of an answer',
    )
    await fleet.settled('newcomer', 1)
    for (const name of ['patient', 'newcomer']) await native.deleteDeployment(name)
  })

  it('what nobody asked for is found and removed, a machine that came back from the dead as well', async () => {
    await until(systemClock, 'no machine is left', longMs, async () => (await fleet.machines()).length === 0)
    const { output } = fleet.server.run
    for (const id of phantoms) assert.ok(output.includes(id), `${id} was reported`)
  })
})
