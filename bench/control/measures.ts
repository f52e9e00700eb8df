/** What is measured of a fleet: restarts, rest, and how soon something follows from what happens. */
import { systemClock as clock, until } from '../../src/runtime/clock.ts'
import { signalProcess } from '../../src/runtime/processes.ts'
import { nextVersion, notify } from '../../src/store/tables.ts'
import { NativeClient } from '../../src/wire/native/client.ts'
import { median } from '../median.ts'
import { type Fleet, replicasEach } from './fleet.ts'
import { cpuSeconds, memoryMb, type Part, parts, pidsOf } from './usage.ts'

const eventEveryMs = 200
const settleMs = 2_000
const restartLookMs = 20
const resyncLookMs = 250

type Cpu = Record<Part, number>

/** From the first sign of the new control until every deployment was looked at by it, and the CPU that this took. */
export async function resync({ server, db }: Fleet): Promise<{ seconds: number; cpu: Cpu }> {
  await db.run('update deployments set next_at = null')
  const before = cpuSeconds(server.place)
  const old = server.place.process('control')
  signalProcess(old, 'SIGKILL')
  const isNew = () => pidsOf(server.place, 'control').some((pid) => pid !== old.pid)
  await until(clock, 'another control', 30_000, isNew, restartLookMs)
  const began = clock.monotonicMs()
  const allLookedAt = async () => {
    const [row] = await db.query<{ left: number }>(
      `select count(*)::int as left from deployments
       where next_at is null or next_at <= $1 or lease_token is not null`,
      [new Date(clock.now())],
    )
    return row!.left === 0
  }
  // Each look reads all rows: often enough, and not so often that it is what is measured.
  await until(clock, 'all were looked at', 300_000, allLookedAt, resyncLookMs)
  const seconds = (clock.monotonicMs() - began) / 1000
  const cpu = cpuSeconds(server.place)
  // Control is another process: all that it has used was used for this.
  return { seconds, cpu: { ...less(cpu, before), control: cpu.control } }
}

/** From the end of a gateway until the next one answers, with all its tables; s. */
export async function gatewayStart({ server, db }: Fleet): Promise<number> {
  const old = server.place.process('gateway')
  const [known] = await db.query<{ version: number }>('select max(routes_version) as version from gateways')
  await db.run('update gateways set routes_version = 0')
  signalProcess(old, 'SIGKILL')
  const isNew = () => pidsOf(server.place, 'gateway').some((pid) => pid !== old.pid)
  await until(clock, 'another gateway', 30_000, isNew, restartLookMs)
  const began = clock.monotonicMs()
  await until(clock, 'the gateway knows all', 60_000, async () => {
    const [row] = await db.query<{ version: number }>('select max(routes_version) as version from gateways')
    return row!.version >= known!.version
  })
  return (clock.monotonicMs() - began) / 1000
}

/** Cores that each part uses while nothing happens, and memory. */
export async function idleCost({ server: { place } }: Fleet, seconds: number) {
  await clock.sleep(settleMs)
  const [before, began] = [cpuSeconds(place), clock.monotonicMs()]
  await clock.sleep(seconds * 1000)
  const [used, took] = [less(cpuSeconds(place), before), (clock.monotonicMs() - began) / 1000]
  const cpu = Object.fromEntries(parts.map((part) => [part, used[part] / took])) as Cpu
  const memoryOf = (part: 'control' | 'gateway') => memoryMb(place.process(part).pid)
  return { cpu, controlMb: memoryOf('control'), gatewayMb: memoryOf('gateway') }
}

/** From the commit of a changed route until the gateway says that it knows it; ms. */
export async function propagationMs({ db, copies }: Fleet): Promise<number> {
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

export interface Followed {
  /** From each event to what followed. */
  ms: number[]
  /** CPU of each part, and how long it all went on. */
  cpu: Cpu
  seconds: number
}

/** `events` deployments spread over all, others at every size and kind of event. */
function some({ copies }: Fleet, events: number, offset: number) {
  return Array.from({ length: events }, (_, at) => copies[Math.floor(((at + offset) * copies.length) / events)]!)
}

/** From the request that asks for a fourth replica until the provider has acknowledged it. */
export function wishes(fleet: Fleet, events: number): Promise<Followed> {
  const { server, db } = fleet
  return followed(fleet, async () => {
    const asked = new Map<string, number>()
    const answers: Promise<unknown>[] = []
    for (const { deploymentId, orgId } of some(fleet, events, 0.25)) {
      asked.set(deploymentId, clock.now())
      const native = new NativeClient({ url: server.url, key: server.operatorKey, org: orgId })
      const replicas = replicasEach + 1
      answers.push(native.changeScaling(deploymentId, { min_replicas: replicas, max_replicas: replicas }))
      await clock.sleep(eventEveryMs)
    }
    await Promise.all(answers)
    const started = await untilStarted(db, [...asked.keys()], replicasEach + 1)
    return started.map(({ deployment_id, at }) => at.getTime() - asked.get(deployment_id)!)
  })
}

/** From the death of an engine, as its provider recorded it, until the provider has acknowledged its successor. */
export function deaths(fleet: Fleet, events: number): Promise<Followed> {
  const { db } = fleet
  return followed(fleet, async () => {
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
  })
}

async function followed({ server: { place } }: Fleet, happen: () => Promise<number[]>): Promise<Followed> {
  const [before, began] = [cpuSeconds(place), clock.monotonicMs()]
  const ms = await happen()
  return { ms, cpu: less(cpuSeconds(place), before), seconds: (clock.monotonicMs() - began) / 1000 }
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

function less(after: Cpu, before: Cpu): Cpu {
  return Object.fromEntries(parts.map((part) => [part, after[part] - before[part]])) as Cpu
}
