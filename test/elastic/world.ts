/** What the proofs of elasticity share: how much is asked, a server that is quick to act, and what it wrote down. */
import assert from 'node:assert/strict'
import { systemClock, until } from '../../src/runtime/clock.ts'
import type { Event } from '../../src/wire/native/explanation.ts'
import { type Server, type StartOptions, startServer } from '../e2e/harness.ts'
import type { Place } from '../e2e/place.ts'
import type { OwnProcess } from '../e2e/processes.ts'

/** `FULL=1` in the environment: the numbers and times of the promise. Without it the same, smaller, for every day. */
export const isFull = process.env.FULL === '1'

/** Engines on a machine that is busy with the load itself. */
export const longMs = 120_000

/** Intervals shortened; bounds as they are, so that nothing here is answered by a bound. */
export function startElastic(place: Place, options: StartOptions = {}): Promise<Server> {
  return startServer(place, {
    ...options,
    env: {
      PADDOCK_LOG_LEVEL: 'warn',
      PADDOCK_AUTOSCALING_IDLE_TIMEOUT_MINIMUM_SECONDS: '0',
      // Nothing here is about load that grows by itself.
      PADDOCK_AUTOSCALING_LOOK_EVERY_SECONDS: '3600',
      // An engine that has to share the machine with hundreds of clients may be slow, and is not to be replaced.
      PADDOCK_LIVENESS_UNRESPONSIVE_SECONDS: '60',
      ...options.env,
    },
  })
}

/** All of a deployment's events of this type, newest first. */
export async function eventsOf(server: Server, id: string, type: string): Promise<Event[]> {
  const all: Event[] = []
  for (let cursor: string | undefined; ; ) {
    const page = await server.native.listEvents(id, { type, limit: 200, cursor })
    all.push(...page.data)
    if (page.next_cursor === null) return all
    cursor = page.next_cursor
  }
}

/** How often an engine was asked for. */
export async function starts(server: Server, id: string): Promise<number> {
  return (await eventsOf(server, id, 'replica.planned')).length
}

/** Engines of this deployment that run now. */
export async function enginesOf(server: Server, id: string): Promise<OwnProcess[]> {
  const { data } = await server.native.listReplicas(id)
  const ids = new Set(data.map((replica) => replica.id))
  return server.place.processes('engine').filter(({ replicaId }) => ids.has(replicaId ?? ''))
}

/** It sleeps and everything that it had is gone, as somebody who looks at the machine would say. */
export async function asleepAndGone(server: Server, id: string, ms = longMs): Promise<void> {
  await server.when(id, 'sleeps', ({ phase, ready_replicas }) => phase === 'asleep' && ready_replicas === 0, ms)
  await until(systemClock, 'its hardware is free', ms, async () => {
    const { data } = await server.native.listReplicas(id)
    return data.every(({ phase }) => phase === 'gone')
  })
  assert.deepEqual(await enginesOf(server, id), [])
}

/** Exactly so many answer, nothing is on its way, and nothing is left of what went. */
export async function settledAt(server: Server, id: string, replicas: number, ms = longMs): Promise<void> {
  let last = ''
  await until(systemClock, `${replicas} replicas serve, and no other is left`, ms, async () => {
    const { phase, ready_replicas } = await server.native.getDeployment(id)
    const { data } = await server.native.listReplicas(id)
    const live = data.filter((one) => one.phase !== 'gone').map((one) => one.phase)
    last = `${phase}, ${ready_replicas} ready, ${live}`
    return phase === 'serving' && live.length === replicas && live.every((one) => one === 'ready')
  }).catch((error: Error) => {
    throw new Error(`${error.message}; it is ${last}\n${server.run.output.slice(-4_000)}`)
  })
}
