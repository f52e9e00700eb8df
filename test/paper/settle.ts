/** Faults cease: within a bounded time everything must be as it was wished, and stay so. */
import { strict as assert } from 'node:assert'
import { boundsOf } from '../../src/deployments/scaling.ts'
import { check } from './invariants.ts'
import type { Deployment } from './tables.ts'
import { lostGateway, type World } from './world.ts'

/** Seconds, at one round a second. */
const roundsMaximum = 500
/** As long as this it must stay so. */
const calmRounds = 5
const sweepEvery = 10

export function settle(world: World): void {
  endFaults(world)
  // Whoever waits is answered, also when a gateway has died for good; it only keeps what runs from being taken away.
  until(world, answered)
  world.tables.register.delete(lostGateway)
  until(world, (all) => [...answered(all), ...problems(all)])
}

function until(world: World, whatIsWrong: (world: World) => string[]): void {
  let calm = 0
  for (let round = 0; calm < calmRounds; round += 1) {
    const wrong = whatIsWrong(world)
    calm = wrong.length === 0 ? calm + 1 : 0
    assert(round < roundsMaximum, `not settled after ${roundsMaximum} s: ${wrong.join('; ')}`)
    everySecond(world, round)
    check(world)
  }
}

function endFaults(world: World): void {
  const { provider, gateways } = world
  provider.faults = false
  provider.up = true
  provider.totalUnits = 100
  for (const call of provider.pending.splice(0)) call()
  for (const gateway of gateways) gateway.cutOff = false
}

function everySecond(world: World, round: number): void {
  const { provider, tables, gateways, autoscaler } = world
  for (const turn of world.turns) turn.step()
  world.endTurns()
  for (const machine of provider.machines.values()) {
    if (machine.state === 'dead') continue
    if (world.isBad(machine.id)) provider.kill(machine, world.now)
    else if (!provider.strays.has(machine.id) || tables.live.has(machine.id)) provider.boot(machine, world.now)
  }
  world.wearOut()
  for (const deployment of tables.deployments) world.beginTurn(deployment)?.finish()
  world.endTurns()
  for (const watcher of world.watchers.values()) watcher.look()
  for (const gateway of gateways) {
    gateway.pass()
    gateway.finish(0.7)
    gateway.look()
    gateway.say()
  }
  autoscaler.look()
  autoscaler.write()
  if (round % sweepEvery < 3) world.sweep()
  world.now += 1_000
}

/** What is not yet as it was wished. */
function problems(world: World): string[] {
  const { provider, tables } = world
  const wrong = tables.deployments.flatMap((deployment) => problemsOf(world, deployment))
  for (const id of provider.machines.keys()) if (!tables.live.has(id)) wrong.push(`nobody owns ${id}`)
  return wrong
}

function answered({ gateways, tables }: World): string[] {
  return gateways.flatMap(({ id, open, table }) => {
    const waiting = open === 0 ? [] : [`${open} requests are not answered by ${id}`]
    return table.version === tables.routesVersion ? waiting : [...waiting, `${id} lags behind`]
  })
}

function problemsOf({ provider }: World, deployment: Deployment): string[] {
  const { id, phase, desired, desiredReplicas, scaling, window, rows, why, notes } = deployment
  const { floor, maySleep } = boundsOf(scaling, window)
  const wanted = { running: restOf(deployment), stopped: 'stopped', deleted: 'deleted' }[desired]
  const wrong: string[] = []
  if (phase !== wanted) wrong.push(`${id} is ${phase} and not ${wanted}: ${why.join(' ')}`)
  const machines = rows.filter((row) => provider.machines.get(row.id)?.state === 'up').length
  const due = wanted === 'serving' ? desiredReplicas : 0
  if (machines !== due || rows.length !== due) wrong.push(`${id} has ${machines} machines of ${due}`)
  if (wanted === 'asleep' && !maySleep && notes.told === false) wrong.push(`${id} sleeps and may not`)
  if (wanted === 'serving' && (maySleep || notes.told === true)) wrong.push(`${id} should sleep by now`)
  if (wanted === 'serving' && desiredReplicas !== floor) wrong.push(`${id} has too many for no load`)
  return wrong
}

/** What a running deployment comes to rest as. */
function restOf(deployment: Deployment): string {
  if (deployment.phase !== 'failed') return deployment.desiredReplicas === 0 ? 'asleep' : 'serving'
  const [target, ...others] = deployment.revisions.filter((revision) => !revision.failed)
  const worked = others.find((revision) => revision.proven)
  assert(
    target?.proven || target?.late || !worked,
    `${deployment.id} gave up although revision ${worked?.number} is left`,
  )
  return 'failed'
}
