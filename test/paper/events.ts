/** What may happen in the paper world, and what must hold after each of it. */
import { strict as assert } from 'node:assert'
import { isStaying } from '../../src/deployments/replica.ts'
import { type Deployment, settings, type World } from './world.ts'

/** One random event. Returns its name for the trace. */
export function step(world: World): string {
  const { random } = world
  const event = random.weighted({
    turn: 60,
    boot: 14,
    crash: 3,
    hang: 1,
    heal: 1,
    wish: 4,
    time: 14,
    capacity: 1,
    provider: 1,
    jump: 0.2,
    forget: 0.5,
  })
  const deployment = random.pick(world.deployments.filter((d) => d.phase !== 'deleted'))
  const machine = random.pick([...world.machines.values()].filter((m) => m.state !== 'dead'))
  switch (event) {
    case 'turn': {
      const due = world.deployments.filter((d) => world.isDue(d))
      const next = random.pick(due)
      if (next) world.turn(next, random.chance(0.05) ? random.pick(['record', 'act'] as const)! : null)
      break
    }
    case 'boot':
      if (machine?.state === 'booting' && !world.isBad(world.rows.get(machine.id)!))
        Object.assign(machine, { state: 'up', answers: true })
      break
    case 'crash':
      if (machine) world.kill(machine)
      break
    case 'hang':
      if (machine) machine.answers = false
      break
    case 'heal':
      if (machine?.state === 'up') machine.answers = true
      break
    case 'wish':
      wish(world, deployment)
      break
    case 'time':
      world.now += random.int(1, 5_000)
      break
    case 'capacity':
      world.totalUnits = random.int(0, 8)
      break
    case 'provider':
      world.providerUp = !world.providerUp
      break
    case 'jump':
      world.now += random.int(-20_000, 3_600_000)
      break
    case 'forget':
      if (machine && random.chance(0.3)) world.machines.delete(machine.id)
      break
  }
  return `${event} ${deployment?.id ?? ''}`
}

function wish(world: World, deployment: Deployment | undefined): void {
  const kind = world.random.weighted({ create: 2, stop: 2, start: 4, remove: 1, size: 3, sleep: 2, roll: 3 })
  if (kind === 'create' && world.deployments.filter((d) => d.phase !== 'deleted').length < 5) world.addDeployment()
  if (!deployment || deployment.desired === 'deleted') return
  if (kind === 'stop') deployment.desired = 'stopped'
  if (kind === 'start')
    Object.assign(deployment, { desired: 'running', starts: { failed: 0, lastAt: 0, why: '', lastLines: [] } })
  if (kind === 'remove') deployment.desired = 'deleted'
  if (kind === 'sleep') deployment.desiredReplicas = 0
  if (kind === 'roll') world.addRevision(deployment, world.random.chance(0.3))
  if (kind === 'size') deployment.desiredReplicas = world.random.int(1, 3)
  deployment.wakeAt = world.now
}

/** Every invariant; throws AssertionError with the name of the broken one. */
export function check(world: World): void {
  for (const machine of world.machines.values()) {
    const row = world.rows.get(machine.id)
    assert(row, `intent first: machine ${machine.id} has no row`)
    assert(row.phase !== 'gone', `gone means gone: ${machine.id} still exists at the provider`)
  }
  for (const row of world.rows.values()) checkRow(world, row.id)
  for (const deployment of world.deployments) checkDeployment(world, deployment)
}

function checkRow(world: World, id: string): void {
  const row = world.rows.get(id)!
  const machine = world.machines.get(id)
  if (row.readyAt !== null && row.endedAt === null)
    assert(row.phase === 'ready' || row.phase === 'draining', `${id} is billed but ${row.phase}`)
  if (row.exit !== null && machine?.diedAt != null && row.exit.lastLines.length > 0)
    assert.equal(row.endedAt, machine.diedAt, `billing of ${id} ends at its death, not at the discovery`)
  if (row.phase === 'gone') assert(row.endedAt !== null, `${id} is gone but its interval is open`)
}

function checkDeployment(world: World, deployment: Deployment): void {
  const live = world.live(deployment)
  const staying = live.filter(isStaying)
  if (deployment.phase === 'deleted') assert.equal(live.length, 0, `${deployment.id} is deleted but has replicas`)
  assert(!deployment.overshoot, `${deployment.id} starts more than it wants`)
  assert(!deployment.struck, `${deployment.id} gave up although a replica serves`)
  assert(!deployment.hasty, `${deployment.id} let one go that may come back, with nothing in its place`)
  assert(!deployment.gap, `${deployment.id} rolls with a gap`)
  const looked = deployment.wakeAt === null || deployment.wakeAt > world.now
  if (!looked) return
  if (deployment.desired === 'running' && deployment.phase !== 'failed')
    assert(
      staying.filter((row) => !world.isLost(row)).length <=
        deployment.desiredReplicas + (deployment.phase === 'rolling' ? 1 : 0),
      `${deployment.id} has ${staying.length} of ${deployment.desiredReplicas} wanted`,
    )
  if (deployment.phase === 'failed') assert.equal(staying.length, 0, `${deployment.id} failed but keeps replicas`)
  if (deployment.phase !== 'serving')
    assert(
      deployment.reason !== null || deployment.phase === 'deleted',
      `${deployment.id} is ${deployment.phase} without a reason`,
    )
  if (live.length > 0 || deployment.phase === 'queued')
    assert(deployment.wakeAt !== null, `${deployment.id} would never be looked at again`)
  const serves = staying.some((row) => row.phase === 'ready' && !world.isLost(row))
  if (deployment.starts.failed >= settings.brakeAfter && deployment.desired === 'running' && !serves)
    assert.equal(deployment.phase, 'failed')
  assert(deployment.phase !== 'failed' || deployment.starts.failed >= settings.brakeAfter, 'failed for no reason')
}

/** What a running deployment comes to rest as. */
function restOf(deployment: Deployment): string {
  if (deployment.phase === 'failed') {
    const [target, ...others] = deployment.revisions.filter((revision) => !revision.failed)
    const worked = others.find((revision) => revision.proven)
    assert(
      target?.proven || target?.late || !worked,
      `${deployment.id} gave up although revision ${worked?.number} is left`,
    )
    return 'failed'
  }
  return deployment.desiredReplicas === 0 ? 'asleep' : 'serving'
}

/** Faults cease: everything must settle within a bounded number of turns and become what was wished. */
export function settle(world: World): void {
  world.faults = false
  world.providerUp = true
  world.totalUnits = 100
  for (let round = 0; round < 400; round += 1) {
    for (const machine of world.machines.values())
      if (world.isBad(world.rows.get(machine.id)!)) world.kill(machine)
      else if (machine.state === 'booting' || machine.state === 'up')
        Object.assign(machine, { state: 'up', answers: true })
    for (const deployment of world.deployments)
      if (deployment.wakeAt !== null && deployment.wakeAt <= world.now) world.turn(deployment, null)
    check(world)
    world.now += 1_000
  }
  for (const deployment of world.deployments) {
    const wanted = {
      running: restOf(deployment),
      stopped: 'stopped',
      deleted: 'deleted',
    }
    assert.equal(
      deployment.phase,
      wanted[deployment.desired],
      `${deployment.id} does not settle: ${deployment.why.join(' ')}`,
    )
    const machines = world.live(deployment).filter((row) => world.machines.has(row.id)).length
    assert.equal(machines, deployment.phase === 'serving' ? deployment.desiredReplicas : 0, `${deployment.id} machines`)
  }
}
