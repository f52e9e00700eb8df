/**
 * The control plane with many deployments of three replicas each, on the real server with the simulated fleet and a real
 * Postgres: how long a start of control takes until everything was looked at, what it costs while nothing happens, and
 * how soon something follows from what happens, while all the rest is idle. At several sizes: it should grow with them.
 */
import { loadavg } from 'node:os'
import { systemClock as clock, until } from '../src/runtime/clock.ts'
import { environment } from '../src/runtime/environment.ts'
import { signalProcess } from '../src/runtime/processes.ts'
import { nextVersion, notify } from '../src/store/tables.ts'
import { NativeClient } from '../src/wire/native/client.ts'
import { Place } from '../test/e2e/place.ts'
import { Fleet, replicasEach } from './control/fleet.ts'
import { cpuSeconds, memoryMb, parts, pidsOf } from './control/usage.ts'
import { median } from './median.ts'
import type { Bench, Measured } from './report.ts'

type Report = (measured: Measured) => void

const usual = { sizes: [1_000, 3_000, 10_000], idleSeconds: 15, events: 100 }
const quick = { sizes: [50, 100], idleSeconds: 3, events: 10 }
const eventEveryMs = 200
const settleMs = 2_000
const targets = { resyncSeconds: 10, eventMs: 1_000, growth: 1.3 }

export const bench: Bench = {
  name: 'control',
  about: 'Control plane at 1,000, 3,000 and 10,000 deployments of 3 replicas: full resync, idle cost, event to action',
  run: async (report, options) => {
    const place = new Place()
    try {
      const fleet = await Fleet.start(place)
      try {
        await measure(fleet, { ...(options.quick ? quick : usual), ...sizesAsked() }, report)
      } finally {
        await fleet.stop()
      }
    } finally {
      await place.remove()
    }
  },
}

/** BENCH_SIZES=1000,3000 instead of the usual ones. */
function sizesAsked(): { sizes?: number[] } {
  const text = environment().BENCH_SIZES
  return text === undefined ? {} : { sizes: text.split(',').map(Number) }
}

async function measure(fleet: Fleet, { sizes, idleSeconds, events }: typeof usual, report: Report): Promise<void> {
  const costs: { size: number; resync: number; cpu: number; memory: number }[] = []
  for (const size of sizes) {
    await fleet.grow(size)
    const tell = (name: string, value: number, unit: string, target?: number) =>
      report({
        name: `${size}: ${name}`,
        value,
        unit,
        why: `load ${loadavg()[0]!.toFixed(1)}`,
        ...(target === undefined || size !== sizes.at(-1) ? {} : { target }),
      })
    const resync = await resyncSeconds(fleet)
    tell('full resync, from the start of control', resync, 's', targets.resyncSeconds)
    tell('gateway: start to ready', await gatewaySeconds(fleet), 's')
    const idle = await idleCost(fleet, idleSeconds)
    for (const part of parts) tell(`idle: CPU of ${part}`, idle.cpu[part] * 100, '% of a core')
    tell('idle: memory of control', idle.controlMb, 'MB')
    tell('idle: memory of gateway', idle.gatewayMb, 'MB')
    tell('a changed route is known to the gateway', await propagationMs(fleet), 'ms')
    for (const [what, ms] of [
      ['a wish → its replica is asked for', await wishes(fleet, events)],
      ['a replica dies → its successor is asked for', await deaths(fleet, events)],
    ] as const) {
      tell(`${what}, median`, median(ms), 'ms')
      tell(`${what}, p99`, percentile(ms, 0.99), 'ms', targets.eventMs)
    }
    costs.push({ size, resync, cpu: idle.cpu.control, memory: idle.controlMb })
  }
  growth(costs, report)
}

/** The share by which the largest costs more per deployment than the one before it; 1 = as much. */
function growth(costs: { size: number; resync: number; cpu: number; memory: number }[], report: Report): void {
  const [smaller, largest] = costs.slice(-2)
  if (smaller === undefined || largest === undefined) return
  const factor = largest.size / smaller.size
  for (const [what, cost] of [
    ['resync', 'resync'],
    ['idle CPU', 'cpu'],
    ['memory', 'memory'],
  ] as const) {
    const value = largest[cost] / smaller[cost] / factor
    const name = `${what} per deployment, ${largest.size} ÷ ${smaller.size}`
    report({ name, value, unit: '×', target: targets.growth })
  }
}

/** From the first sign of the new process until every deployment was looked at by it. */
async function resyncSeconds({ server, db }: Fleet): Promise<number> {
  await db.run('update deployments set next_at = null')
  const old = server.place.process('control')
  signalProcess(old, 'SIGKILL')
  const isNew = () => pidsOf(server.place, 'control').some((pid) => pid !== old.pid)
  await until(clock, 'another control', 30_000, isNew, 5)
  const began = clock.monotonicMs()
  await until(clock, 'all were looked at', 300_000, async () => {
    const [row] = await db.query<{ left: number }>(
      `select count(*)::int as left from deployments
       where next_at is null or next_at <= $1 or lease_token is not null`,
      [new Date(clock.now())],
    )
    return row!.left === 0
  })
  return (clock.monotonicMs() - began) / 1000
}

/** From the end of a gateway until the next one answers, with all its tables. */
async function gatewaySeconds({ server, db }: Fleet): Promise<number> {
  const old = server.place.process('gateway')
  const [known] = await db.query<{ version: number }>('select max(routes_version) as version from gateways')
  await db.run('update gateways set routes_version = 0')
  signalProcess(old, 'SIGKILL')
  await until(clock, 'another gateway', 30_000, () => pidsOf(server.place, 'gateway').some((pid) => pid !== old.pid), 5)
  const began = clock.monotonicMs()
  await until(clock, 'the gateway knows all', 60_000, async () => {
    const [row] = await db.query<{ version: number }>('select max(routes_version) as version from gateways')
    return row!.version >= known!.version
  })
  return (clock.monotonicMs() - began) / 1000
}

async function idleCost({ server: { place } }: Fleet, seconds: number) {
  await clock.sleep(settleMs)
  const [before, began] = [cpuSeconds(place), clock.monotonicMs()]
  await clock.sleep(seconds * 1000)
  const [after, took] = [cpuSeconds(place), (clock.monotonicMs() - began) / 1000]
  const cpu = Object.fromEntries(parts.map((part) => [part, (after[part] - before[part]) / took])) as typeof after
  const memoryOf = (part: 'control' | 'gateway') => memoryMb(place.process(part).pid)
  return { cpu, controlMb: memoryOf('control'), gatewayMb: memoryOf('gateway') }
}

/** From the commit of a changed route until the gateway says that it knows it. */
async function propagationMs({ db, copies }: Fleet): Promise<number> {
  const rounds: number[] = []
  for (let round = 0; round < 9; round += 1) {
    const version = await db.tx(async (tx) => {
      const next = await nextVersion(tx, 'routes')
      await tx.run('update routes set version = $2 where deployment_id = $1', [copies[round]!.deploymentId, next])
      await notify(tx)
      return next
    })
    const began = clock.monotonicMs()
    const isKnown = async () =>
      (await db.query('select 1 from gateways where routes_version >= $1', [version])).length > 0
    await until(clock, 'the route is known', 30_000, isKnown, 2)
    rounds.push(clock.monotonicMs() - began)
  }
  return median(rounds)
}

/** `events` deployments spread over all, others at every size and kind of event. */
function some({ copies }: Fleet, events: number, offset: number) {
  return Array.from({ length: events }, (_, at) => copies[Math.floor(((at + offset) * copies.length) / events)]!)
}

/** From the request that asks for a fourth replica until the provider has acknowledged it. */
async function wishes(fleet: Fleet, events: number): Promise<number[]> {
  const { server, db } = fleet
  const chosen = some(fleet, events, 0.25)
  const asked = new Map<string, number>()
  const answers: Promise<unknown>[] = []
  for (const { deploymentId, orgId } of chosen) {
    asked.set(deploymentId, clock.now())
    const native = new NativeClient({ url: server.url, key: server.operatorKey, org: orgId })
    answers.push(native.changeScaling(deploymentId, { min_replicas: replicasEach + 1, max_replicas: replicasEach + 1 }))
    await clock.sleep(eventEveryMs)
  }
  await Promise.all(answers)
  const started = await untilStarted(db, [...asked.keys()], replicasEach + 1)
  return started.map(({ deployment_id, at }) => at.getTime() - asked.get(deployment_id)!)
}

/** From the death of an engine, as its provider recorded it, until the provider has acknowledged its successor. */
async function deaths(fleet: Fleet, events: number): Promise<number[]> {
  const { db } = fleet
  const chosen = some(fleet, events, 0.75)
  for (const { replicaIds } of chosen) {
    await fleet.crash(replicaIds[0]!)
    await clock.sleep(eventEveryMs)
  }
  const ids = chosen.map(({ deploymentId }) => deploymentId)
  const started = await untilStarted(db, ids, replicasEach + 1)
  const ends = await db.query<{ deployment_id: string; at: Date }>(
    'select deployment_id, ended_at as at from replicas where id = any($1)',
    [chosen.map(({ replicaIds }) => replicaIds[0]!)],
  )
  const endOf = new Map(ends.map(({ deployment_id, at }) => [deployment_id, at.getTime()]))
  return started.map(({ deployment_id, at }) => at.getTime() - endOf.get(deployment_id)!)
}

/** When the newest replica of each was acknowledged, once each has had so many. */
async function untilStarted(db: Fleet['db'], ids: string[], replicas: number) {
  const look = async () => {
    const rows = await db.query<{ deployment_id: string; at: Date }>(
      `select deployment_id, max(started_at) as at from replicas where deployment_id = any($1) and started_at is not null
       group by deployment_id having count(*) >= $2`,
      [ids, replicas],
    )
    return rows.length === ids.length ? rows : null
  }
  return until(clock, 'all have been asked for', 120_000, look, 100)
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.ceil(sorted.length * share) - 1]!
}
