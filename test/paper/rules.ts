/**
 * What the world runs on: the real functions. A planted bug is these with one of them broken.
 */
import { type GatewayReport, heard, isDrained } from '../../src/access/gateways.ts'
import { decide } from '../../src/autoscaling/decide.ts'
import type { Demands } from '../../src/autoscaling/demands.ts'
import { recall, sampleOf } from '../../src/autoscaling/memory.ts'
import { addSample } from '../../src/autoscaling/window.ts'
import { lookAfterActingAt, lookAgainAt } from '../../src/deployments/look-again.ts'
import { hasRoom } from '../../src/deployments/place.ts'
import { plan } from '../../src/deployments/plan.ts'
import { makeRoute } from '../../src/deployments/publish.ts'
import { orphansAmong } from '../../src/deployments/replica.ts'
import { sameWish } from '../../src/deployments/situation.ts'
import { callsForTurn } from '../../src/deployments/watch.ts'
import { outlook, pick } from '../../src/gateway/pick.ts'
import { costSoFar } from '../../src/usage/serving.ts'
import type { Deployment, Row, Tables } from './tables.ts'

export const realRules = {
  plan,
  hasRoom,
  lookAfterActingAt,
  lookAgainAt,
  sameWish,
  makeRoute,
  isDrained,
  callsForTurn,
  orphansAmong,
  heard,
  gather: (demands: Demands, ...rest: Parameters<Demands['gather']>) => demands.gather(...rest),
  recall,
  sampleOf,
  addSample,
  decide,
  outlook,
  pick,
  costSoFar,
  /** A turn writes only while its claim holds: `withLease`. */
  holdsLease: (deployment: Deployment, token: string) => deployment.lease?.token === token,
  /** The sweep reads the rows after it has listed the machines. */
  ownedAtSweep: (listed: readonly string[], now: Tables, _before: ReadonlySet<string>): Set<string> =>
    new Set(listed.filter((id) => now.live.has(id))),
  /** What the autoscaler writes: nothing when number, policy or window have changed since its look. */
  mayWriteDesired: (deployment: Deployment, seen: Pick<Deployment, 'desiredReplicas' | 'scaling' | 'window'>) =>
    deployment.desired === 'running' &&
    deployment.desiredReplicas === seen.desiredReplicas &&
    deployment.scaling === seen.scaling &&
    deployment.window === seen.window,
  /** What a gateway writes of the report it made; `newest`: the version that is published by then. */
  said: (report: GatewayReport, _newest: number): GatewayReport => report,
  /** The version that drains a replica, once its drain is called off. */
  drainVersionCalledOff: (_version: number | null): number | null => null,
  /** What a turn does after its records: nothing more to the rows. */
  afterRecord: (_tables: Tables, _deployment: Deployment) => {},
  /** When a replica's interval is closed as a person deletes it. */
  endAtDelete: (row: Row, now: number) => Math.min(row.endedAt ?? now, now),
}

export type Rules = typeof realRules
