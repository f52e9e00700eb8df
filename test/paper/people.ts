/** What people ask, written as the use cases of `src/` write it: the wish, the phase that follows at once, the route. */
import type { Route } from '../../src/deployments/routes.ts'
import {
  boundsOf,
  changeScaling,
  clamp,
  fixedScaling,
  floorOf,
  maySleep,
  type ScalingPolicy,
  type WindowLimits,
} from '../../src/deployments/scaling.ts'
import { noStarts } from '../../src/deployments/situation.ts'
import { Fault } from '../../src/kernel/fault.ts'
import { reasonOf } from '../../src/kernel/phase.ts'
import type { Deployment, Notes, Tables } from './tables.ts'
import type { World } from './world.ts'

const born = new Date(0)
const limits = { replicasMaximum: 6, cooldownMinimumSeconds: 1, idleTimeoutMinimumSeconds: 1 }

const wishes = { create: 2, stop: 2, start: 4, remove: 1, sleep: 2, wake: 2, roll: 3, scale: 4, size: 1 }
const policies = { steps: 4, target: 5, slo: 1 } as const

/** Something random that somebody may ask. */
export function wish(world: World): string {
  const { random } = world
  const what = random.weighted(wishes)
  if (what === 'create') {
    if (world.alive().length < 5) create(world)
    return what
  }
  const deployment = random.pick(world.alive())
  if (deployment === undefined) return what
  if (what === 'roll') addRevision(world, deployment, random.chance(0.3))
  else if (what === 'scale') scale(world, deployment, somePolicy(world))
  else if (what === 'size') scale(world, deployment, fixed(random.int(1, 3)))
  else asks[what](world, deployment)
  deployment.nextAt = Math.min(deployment.nextAt ?? world.now, world.now)
  return `${what} ${deployment.id}`
}

export function create(world: World): Deployment {
  const { tables, random, now } = world
  const scaling = changeScaling({ ...fixedScaling(1), ...somePolicy(world) }, {}, limits)
  const deployment: Deployment = {
    id: tables.id('dep'),
    desired: 'running',
    desiredReplicas: floorOf(scaling),
    scaling,
    autoscaler: {},
    phase: 'starting',
    reason: reasonOf('starting', born),
    starts: noStarts,
    readyReplicas: 0,
    why: [],
    stoppedBy: null,
    window: null,
    revisions: [],
    revision: 0,
    rows: [],
    nextAt: now,
    lease: null,
    notes: noNotes(),
  }
  addRevision(world, deployment, random.chance(0.15))
  tables.deployments.push(deployment)
  tables.publish(firstRoute(deployment))
  return deployment
}

function noNotes(): Notes {
  const turn = { overshoot: false, gap: false, wasted: false, struck: false, hasty: false }
  return { claims: 0, failures: 0, shut: false, told: false, ...turn }
}

/** Another spec. */
function addRevision({ tables, random }: World, deployment: Deployment, bad: boolean): void {
  const hardware = [{ gpuType: 'h100', gpuCount: random.int(1, 2), region: null }]
  const number = (deployment.revisions[0]?.number ?? 0) + 1
  const late = deployment.phase === 'failed'
  const fragile = !bad && random.chance(0.08)
  const revision = {
    id: tables.id('rev'),
    number,
    hardware,
    failed: false,
    proven: false,
    bad,
    fragile,
    late,
    failures: 0,
  }
  deployment.revisions = [revision, ...deployment.revisions.slice(0, 19)]
  deployment.revision = number
  // What was given up stays down until somebody starts it, however its settings change.
  if (!late) resetStarts(tables, deployment)
  if (['serving', 'scaling', 'degraded'].includes(deployment.phase))
    tables.set(deployment, 'people', { phase: 'rolling', reason: reasonOf('rolling', born) })
}

function resetStarts(tables: Tables, deployment: Deployment): void {
  tables.set(deployment, 'people', { starts: noStarts })
  deployment.notes.failures = 0
  for (const row of deployment.rows) row.endCounted = false
  for (const revision of deployment.revisions) revision.failures = 0
}

const asks = { stop, start, remove, sleep, wake }

function stop(world: World, deployment: Deployment): void {
  if (deployment.desired === 'stopped') return
  world.stop(deployment, 'person', 'people')
}

function start({ tables }: World, deployment: Deployment): void {
  if (deployment.desired === 'running' && deployment.phase !== 'failed') return
  const { floor } = boundsOf(deployment.scaling, deployment.window)
  const desiredReplicas = Math.max(deployment.desiredReplicas, floor)
  const down = ['stopping', 'stopped', 'failed'].includes(deployment.phase)
  const phase = down ? 'starting' : deployment.phase
  tables.set(deployment, 'people', { desired: 'running', desiredReplicas, phase, stoppedBy: null })
  if (down) tables.set(deployment, 'people', { reason: reasonOf('starting', born) })
  resetStarts(tables, deployment)
  Object.assign(deployment.notes, { shut: false, told: false })
}

function remove(world: World, deployment: Deployment): void {
  const { tables, rules, now } = world
  tables.set(deployment, 'people', { desired: 'deleted', phase: 'stopping' })
  for (const row of deployment.rows) row.endedAt = rules.endAtDelete(row, now)
  deployment.notes.shut = true
  const route = tables.routes.get(deployment.id)!
  tables.publish({ ...route, phase: 'stopping', removed: true })
}

function sleep(world: World, deployment: Deployment): void {
  if (deployment.desired !== 'running' || deployment.phase === 'failed') return
  setDesired(world, deployment, 0)
  // Whoever waits now wakes it again, unless it gives up before anybody has read that it waits.
  const nobodyWaits = world.gateways.every(({ held }) => (held.get(deployment.id)?.length ?? 0) === 0)
  deployment.notes.told = nobodyWaits ? true : null
}

function wake(world: World, deployment: Deployment): void {
  if (deployment.desired !== 'running' || deployment.phase === 'failed' || deployment.desiredReplicas > 0) return
  setDesired(world, deployment, boundsOf(deployment.scaling, deployment.window).floor)
}

function scale(world: World, deployment: Deployment, change: Partial<ScalingPolicy>): void {
  const before = deployment.scaling
  let after: ScalingPolicy
  try {
    after = changeScaling(before, change, limits)
  } catch (error) {
    if (error instanceof Fault) return
    throw error
  }
  const stays = deployment.desiredReplicas === 0 && !(maySleep(before) && !maySleep(after))
  world.tables.set(deployment, 'people', { scaling: after })
  const bounds = boundsOf(after, deployment.window)
  setDesired(world, deployment, stays ? 0 : clamp(deployment.desiredReplicas, bounds))
}

function setDesired(world: World, deployment: Deployment, to: number): void {
  const from = deployment.desiredReplicas
  if (from === to) return
  world.tables.set(deployment, 'people', { desiredReplicas: to })
  if (to > 0) deployment.notes.told = false
  world.phaseFollows(deployment, from, 'people')
}

/** A window of its schedule begins or ends. */
export function turnWindow({ tables, random }: World, deployment: Deployment): void {
  const windows: (WindowLimits | null)[] = [
    null,
    { action: 'sleep' },
    { action: 'scale', min: 0, max: 2 },
    { action: 'scale', min: 2, max: 3 },
  ]
  tables.set(deployment, 'calendar', { window: random.pick(windows)! })
  deployment.notes.told = deployment.notes.told === false ? false : null
}

function fixed(replicas: number): Partial<ScalingPolicy> {
  const { autoscalingEnabled, minReplicas, maxReplicas } = fixedScaling(replicas)
  return { autoscalingEnabled, minReplicas, maxReplicas }
}

function somePolicy({ random }: World): Partial<ScalingPolicy> {
  const minReplicas = random.int(0, 2)
  return {
    autoscalingEnabled: true,
    policy: random.weighted(policies),
    minReplicas,
    maxReplicas: Math.max(1, minReplicas) + random.int(0, 3),
    scaleToZero: random.chance(0.5),
    idleTimeoutSeconds: random.int(5, 25),
    cooldownSeconds: random.int(4, 15),
    inactiveTimeoutMinutes: random.chance(0.2) ? 1 : 0,
  }
}

function firstRoute({ id, phase, reason }: Deployment): Route {
  return {
    deploymentId: id,
    orgId: 'org',
    name: id,
    modelId: 'model',
    servedName: 'model',
    engine: 'llamacpp',
    phase,
    reason,
    replicas: [],
    contextTokens: 0,
    emulated: false,
    servedBy: null,
    created: 0,
    removed: false,
    version: 0,
  }
}
