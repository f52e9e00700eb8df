/** What must hold after every step. Throws AssertionError that names the broken one. */
import { strict as assert } from 'node:assert'
import { isLost, isStaying } from '../../src/deployments/replica.ts'
import { answering } from '../../src/kernel/phase.ts'
import type { Deployment, Row } from './tables.ts'
import { settings, type World } from './world.ts'

export function check(world: World): void {
  for (const machine of world.provider.machines.values())
    assert(
      world.tables.live.has(machine.id) || world.provider.strays.has(machine.id),
      `${machine.id} exists at the provider, and no row that is not gone knows it`,
    )
  for (const deployment of world.tables.deployments) {
    checkDeployment(world, deployment)
    for (const row of deployment.rows) checkRow(world, row)
  }
}

/** Nobody pays for what does not exist, nor for a moment more. */
function checkRow({ provider, rules, now }: World, row: Row): void {
  const { id, phase, readyAt, endedAt, exit } = row
  if (readyAt !== null && endedAt === null)
    assert(phase === 'ready' || phase === 'draining', `${id} is billed but ${phase}`)
  if (row.clockMoved) return
  const machine = provider.machines.get(id)
  if (exit !== null && exit.lastLines.length > 0 && machine?.diedAt != null)
    assert(endedAt! <= machine.diedAt, `${id} is billed after its death, until ${endedAt! - machine.diedAt} ms later`)
  const vanishedAt = provider.vanishedAt.get(id)
  if (vanishedAt !== undefined && readyAt !== null && !provider.strays.has(id) && exit?.why.includes('no longer knows'))
    assert(endedAt! <= vanishedAt, `${id} vanished and is billed ${endedAt! - vanishedAt} ms longer`)
  // One that its provider made anew, by an old call, is another machine.
  if (readyAt !== null && machine && !provider.strays.has(id))
    assert(readyAt >= (machine.answeredAt ?? Number.POSITIVE_INFINITY), `${id} is billed before it answered`)
  if (readyAt === null || endedAt === null) return
  const interval = { priceMicroUsdPerUnitHour: 3_600_000n, units: 1, from: readyAt, to: endedAt }
  const billedMs = Number(rules.costSoFar([interval], now))
  assert(billedMs <= now - row.createdAt, `${id} is billed ${billedMs} ms of a life of ${now - row.createdAt} ms`)
}

function checkDeployment({ tables, now }: World, deployment: Deployment): void {
  const { id, desired, phase, rows, notes, starts } = deployment
  if (phase === 'deleted') assert.equal(rows.length, 0, `${id} is deleted but has replicas`)
  assert(!notes.overshoot, `${id} starts more than it wants`)
  assert(!notes.gap, `${id} takes a serving replica away while it is needed`)
  assert(!notes.struck, `${id} gave up although a replica serves`)
  assert(!notes.hasty, `${id} let one go that may come back, with nothing in its place`)
  assert(!notes.wasted, `${id} removes a drained replica that is wanted again`)
  assert(starts.failed <= notes.failures, `${id} counts ${starts.failed} failed starts of ${notes.failures}`)
  if (desired === 'deleted')
    for (const row of rows) assert(row.endedAt !== null, `${row.id} is billed although deleted`)
  if (notes.shut) checkShut(deployment, tables.routes.get(id)!)
  const looked = deployment.nextAt === null ? deployment.lease === null : deployment.nextAt > now
  if (looked && deployment.lease === null) checkLooked(deployment, now)
}

/** Nothing is both deleted, or stopped, and serving. */
function checkShut({ id, desired }: Deployment, route: { phase: keyof typeof answering; removed: boolean }): void {
  if (desired === 'deleted') assert(route.removed, `${id} is deleted and has a route`)
  const answers = answering[route.phase]
  assert(answers !== 'yes' && answers !== 'hold', `${id} is ${desired} and its route says ${route.phase}`)
}

/** A deployment on which the last word is spoken until its next look. */
function checkLooked(deployment: Deployment, now: number): void {
  const { id, desired, desiredReplicas, phase, reason, rows, starts, nextAt, readyReplicas } = deployment
  const staying = rows.filter(isStaying)
  if (desired === 'running' && phase !== 'failed') {
    // One more while rolling; and when fewer are wanted meanwhile, what has begun to come and what still serves.
    const sound = staying.filter((row) => !isLost(row, now, settings))
    const [most] = phase === 'rolling' ? countsByRevision(sound) : [sound.length]
    assert((most ?? 0) <= desiredReplicas, `${id} has ${staying.length} of ${desiredReplicas} wanted`)
  }
  if (phase === 'failed') assert.equal(staying.length, 0, `${id} failed but keeps replicas`)
  if (phase !== 'serving' && phase !== 'deleted') assert(reason !== null, `${id} is ${phase} without a reason`)
  if (phase === 'serving' && reason === null)
    assert.equal(readyReplicas, desiredReplicas, `${id} has another number than wanted and does not say why`)
  if (rows.length > 0 || phase === 'queued') assert(nextAt !== null, `${id} would never be looked at again`)
  const serves = staying.some((row) => row.phase === 'ready' && !isLost(row, now, settings))
  if (starts.failed >= settings.brakeAfter && desired === 'running' && !serves)
    assert.equal(phase, 'failed', `${id} goes on after ${starts.failed} failed starts in a row`)
  assert(phase !== 'failed' || starts.failed >= settings.brakeAfter, `${id} failed for no reason`)
}

/** Largest first. */
function countsByRevision(rows: readonly Row[]): number[] {
  return [...Map.groupBy(rows, (row) => row.revisionId).values()].map((of) => of.length).sort((a, b) => b - a)
}
