/** Bugs that the world must find: each is the real rules with one of them broken. */
import type { Action, Plan } from '../../src/deployments/plan.ts'
import type { ReplicaPatch } from '../../src/deployments/replica.ts'
import { type Rules, realRules as real } from './rules.ts'

const never = Number.MAX_SAFE_INTEGER

/** In the plan: what comes and goes. */
const ofThePlan: Record<string, Partial<Rules>> = {
  'one replica too many': {
    plan: (input) => {
      const result = real.plan(input)
      const extra = result.actions.find((action) => action.do === 'plan_replica')
      return extra ? { ...result, actions: [...result.actions, extra] } : result
    },
  },
  'forgets to look again': { plan: (input) => ({ ...real.plan(input), wakeAt: null }) },
  'believes a delete before the provider says not found': {
    plan: (input) => {
      const result = real.plan(input)
      const removed = result.actions.flatMap((a) => (a.do === 'delete' ? [a.replicaId] : []))
      const patch: ReplicaPatch = { phase: 'gone', goneAt: input.now, endedAt: input.now }
      const gone = removed.map((replicaId): Action => ({ do: 'update', replicaId, patch }))
      return { ...result, actions: [...result.actions.filter((a) => a.do !== 'delete'), ...gone] }
    },
  },
  'never brakes': { plan: (input) => real.plan({ ...input, settings: { ...input.settings, brakeAfter: never } }) },
  'being ready once is enough': {
    plan: (input) => real.plan({ ...input, settings: { ...input.settings, stableMs: 0 } }),
  },
  'never goes back to the revision before': {
    plan: (input) => real.plan({ ...input, settings: { ...input.settings, rollbackAfter: never } }),
  },
  'rolls with a gap': {
    plan: (input) => {
      const result = real.plan(input)
      const old = input.replicas.find((r) => r.phase === 'ready' && r.revisionId !== input.revisions[0]!.id)
      if (old === undefined) return result
      const patch: ReplicaPatch = { phase: 'draining', drainAt: input.now }
      return { ...result, actions: [...result.actions, { do: 'update', replicaId: old.id, patch }] }
    },
  },
  'lets go of what is silent before another has its place': {
    plan: (input) => {
      const silent = input.replicas.find(({ phase, unhealthySince }) => phase === 'ready' && unhealthySince !== null)
      const result = real.plan(input)
      if (!silent || input.now - silent.unhealthySince! < input.settings.unresponsiveMs) return result
      const why = 'It answered no probe.'
      const exit = { at: silent.unhealthySince!, code: null, signal: null, lastLines: [], why }
      const patch: ReplicaPatch = { phase: 'deleting', endedAt: exit.at, exit }
      const others = result.actions.filter((action) => action.do !== 'plan_replica')
      return { ...result, actions: [...others, { do: 'update', replicaId: silent.id, patch }] }
    },
  },
  'forgets that it was deleted': {
    plan: (input) =>
      input.deployment.desired === 'deleted'
        ? real.plan({ ...input, deployment: { ...input.deployment, desired: 'running' } })
        : real.plan(input),
  },
  'writes into what it was given': {
    plan: (input) => {
      for (const replica of input.replicas) replica.drainAt = null
      return real.plan(input)
    },
  },
}

/** In the money. */
const ofBilling: Record<string, Partial<Rules>> = {
  'bills what vanished until that is found out': {
    plan: (input) =>
      real.plan({ ...input, replicas: input.replicas.map((replica) => ({ ...replica, seenAt: input.now })) }),
  },
  'bills until the discovery of a death': {
    plan: (input) => withPatches(real.plan(input), (p) => (p.exit ? { ...p, endedAt: input.now + 1 } : p)),
  },
  'bills from the reservation of the hardware': {
    plan: (input) =>
      withPatches(real.plan(input), (p, id) =>
        p.readyAt === undefined ? p : { ...p, readyAt: input.replicas.find((r) => r.id === id)!.createdAt },
      ),
  },
  'goes on billing what was deleted': { endAtDelete: (row) => row.endedAt! },
}

/** In the protocol: who writes when. */
const ofTurns: Record<string, Partial<Rules>> = {
  'a turn that lost its claim writes all the same': { holdsLease: () => true },
  'a turn does not notice that the wish has changed': { sameWish: () => true },
  'a first create without an answer is not asked again': { lookAfterActingAt: ({ nextAt }) => nextAt },
  'two deployments take the same place': { hasRoom: () => true },
  'the reconciler lowers the wish when it is short': {
    afterRecord: (tables, deployment) => {
      if (deployment.phase === 'queued' && deployment.desiredReplicas > 1)
        tables.set(deployment, 'turn', { desiredReplicas: 1 })
    },
  },
  'the sweep looks at the rows before it lists the machines': {
    ownedAtSweep: (_listed, _now, before) => new Set(before),
  },
}

/** In the drain handshake. */
const ofDrains: Record<string, Partial<Rules>> = {
  'drained before the gateway knows': {
    isDrained: (gateways, id, _version, now) => real.isDrained(gateways, id, 0, now),
  },
  'a silent gateway counts as drained': {
    isDrained: (gateways, id, version, now) => real.isDrained(real.heard(gateways, now).fresh, id, version, now),
  },
  'what is in flight does not count': {
    isDrained: (gateways, id, version, now) =>
      real.isDrained(
        gateways.map((gateway) => ({ ...gateway, inFlight: {} })),
        id,
        version,
        now,
      ),
  },
}

/** In autoscaling, holding and waking. */
const ofScaling: Record<string, Partial<Rules>> = {
  'a silent gateway counts as idle': { heard: (gateways, now) => ({ ...real.heard(gateways, now), complete: true }) },
  'with a silent gateway nobody else is heard': {
    heard: (gateways, now) => {
      const { complete, fresh } = real.heard(gateways, now)
      return { complete, fresh: complete ? fresh : [] }
    },
  },
  'held requests are no demand': {
    gather: (demands, gateways, rows) =>
      new Map([...real.gather(demands, gateways, rows)].map(([id, asked]) => [id, { ...asked, held: 0 }])),
  },
  'only those wake it who come after it fell asleep': {
    decide: (input) => {
      const { samples } = input.window
      const [before, last] = samples.slice(-2)
      if (!before || !last || input.state.desired > 0) return real.decide(input)
      const newer = { ...last, held: Math.max(0, last.held - before.held) }
      return real.decide({ ...input, window: { ...input.window, samples: [...samples.slice(0, -1), newer] } })
    },
  },
  'forgets that it was told to sleep': {
    decide: (input) => real.decide({ ...input, state: { ...input.state, sleepAsked: false } }),
  },
  'overwrites what people have just asked': { mayWriteDesired: ({ desired }) => desired === 'running' },
  'goes beyond its ceiling': {
    decide: (input) =>
      real.decide({ ...input, policy: { ...input.policy, maxReplicas: input.policy.maxReplicas + 2 } }),
  },
  'never gives back what a burst needed': {
    decide: (input) => {
      const decision = real.decide(input)
      const { desired } = input.state
      return decision.cause === 'load' && decision.desired < desired
        ? { ...decision, desired, state: input.state }
        : decision
    },
  },
  'a request is refused where it should wait': {
    outlook: (route, stateOf) => {
      const state = real.outlook(route, stateOf)
      return state === 'hold' && route?.phase === 'waking' ? 'ready' : state
    },
  },
}

function withPatches(result: Plan, change: (patch: ReplicaPatch, replicaId: string) => ReplicaPatch): Plan {
  const actions = result.actions.map(
    (a): Action => (a.do === 'update' ? { ...a, patch: change(a.patch, a.replicaId) } : a),
  )
  return { ...result, actions }
}

export const planted: Record<string, Partial<Rules>> = {
  ...ofThePlan,
  ...ofBilling,
  ...ofTurns,
  ...ofDrains,
  ...ofScaling,
}
