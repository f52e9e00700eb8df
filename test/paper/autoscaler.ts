/**
 * The autoscaler on paper, as `src/autoscaling/loop.ts` goes about it: a look at rows and reports, a decision, and later
 * the writing. The decisions, the memory and the bringing together of reports are the real ones.
 */
import { strict as assert } from 'node:assert'
import { Demands } from '../../src/autoscaling/demands.ts'
import type { Memory } from '../../src/autoscaling/memory.ts'
import type { Decision } from '../../src/autoscaling/state.ts'
import { boundsOf } from '../../src/deployments/scaling.ts'
import type { Deployment } from './tables.ts'
import { decideSettings, type World } from './world.ts'

/** A sample counts as fresh for four seconds, and is of reports of the last three. */
const staleMs = 7_000
/** Requests at once that one replica takes. */
const capacity = 4

interface Change {
  deployment: Deployment
  /** As it was at the look. */
  seen: Pick<Deployment, 'desiredReplicas' | 'scaling' | 'window'>
  decision: Decision
}

export class PaperAutoscaler {
  readonly #world: World
  #memory = new Map<string, Memory>()
  #demands = new Demands()
  #changes: Change[] = []

  constructor(world: World) {
    this.#world = world
  }

  /** Its process died: what it had not written is lost, and what it saw is forgotten. */
  restart(): void {
    this.#memory = new Map()
    this.#demands = new Demands()
    this.#changes = []
  }

  /** Looks at everything that runs, and decides; `write` writes. */
  look(): void {
    const { tables, rules, now } = this.#world
    const rows = tables.deployments.filter((d) => d.desired === 'running' && d.phase !== 'failed')
    const { complete, fresh } = rules.heard([...tables.register.values()], now)
    const serving = rows.map((row) => {
      const replicas = row.rows.filter(({ phase }) => phase === 'ready' || phase === 'draining')
      return { id: row.id, replica_ids: replicas.map(({ id }) => id) }
    })
    const asked = rules.gather(this.#demands, fresh, serving)
    this.#changes = []
    for (const deployment of rows) {
      const said = fresh.length === 0 ? undefined : asked.get(deployment.id)
      const row = {
        desired_replicas: deployment.desiredReplicas,
        ready_replicas: deployment.readyReplicas,
        autoscaler: deployment.autoscaler,
      }
      const memory = rules.recall(this.#memory.get(deployment.id) ?? null, row, now)
      if (said !== undefined) memory.window = rules.addSample(memory.window, rules.sampleOf(row, said, complete, now))
      this.#memory.set(deployment.id, memory)
      if (!this.#stopWhenInactive(deployment, memory)) this.#decide(deployment, memory)
    }
  }

  #decide(deployment: Deployment, memory: Memory): void {
    const { rules, now } = this.#world
    const decision = rules.decide({
      window: memory.window,
      policy: deployment.scaling,
      state: memory.state,
      sla: { ttftTargetMs: null },
      capacityPerReplica: capacity,
      now,
      settings: decideSettings,
      override: deployment.window,
    })
    const change = Math.sign(decision.desired - deployment.desiredReplicas)
    if (change !== 0) this.#world.saw(`autoscaler: ${change > 0 ? 'more' : 'less'} for ${decision.cause}`)
    else if (decision.cause !== 'steady' && decision.cause !== 'idle') this.#world.saw(`autoscaler: ${decision.cause}`)
    this.#checkBounds(deployment, decision)
    if (decision.desired < deployment.desiredReplicas) this.#checkLess(deployment, decision)
    if (decision.desired === deployment.desiredReplicas) {
      memory.state = decision.state
      this.#world.tables.set(deployment, 'autoscaler', { autoscaler: decision.state })
    } else this.#changes.push({ deployment, seen: { ...deployment }, decision })
  }

  /** Within what policy and schedule say, or zero for a reason. */
  #checkBounds({ id, scaling, window }: Deployment, { desired, cause, state }: Decision): void {
    const what = `${id} is to have ${desired} (${cause})`
    const { floor, ceiling, maySleep } = boundsOf(scaling, window)
    if (desired === 0) assert(maySleep || state.sleepAsked, `${what} although it may not sleep`)
    else assert(desired >= floor && desired <= ceiling, `${what}, not ${floor} to ${ceiling}`)
  }

  /** Nothing is taken away on a guess, nor from anybody who waits. */
  #checkLess({ id, rows }: Deployment, { desired, cause }: Decision): void {
    if (cause === 'limits' || (cause === 'schedule' && desired > 0)) return
    const { tables, now } = this.#world
    for (const { id: gateway, seenAt, demand, inFlight } of tables.register.values()) {
      assert(now - seenAt.getTime() <= staleMs, `${id} gets ${desired} although ${gateway} is silent`)
      const waits = (demand[id] as { held: number } | undefined)?.held ?? 0
      assert.equal(waits, 0, `${id} gets ${desired} although somebody waits at ${gateway}`)
      if (desired > 0) continue
      const served = rows.some((row) => (inFlight[row.id] ?? 0) > 0 && row.phase !== 'deleting')
      assert(!served, `${id} goes to sleep although it answers somebody at ${gateway}`)
    }
  }

  /** What was decided, unless somebody else has changed the number since. */
  write(): void {
    const { tables, rules, now } = this.#world
    for (const { deployment, seen, decision } of this.#changes) {
      const memory = this.#memory.get(deployment.id)
      if (memory) memory.state = decision.state
      if (!rules.mayWriteDesired(deployment, seen)) {
        this.#world.saw('autoscaler: somebody was faster')
        continue
      }
      assert.equal(
        deployment.desiredReplicas,
        seen.desiredReplicas,
        `two writers: ${deployment.id} was changed since the look`,
      )
      const { desired: desiredReplicas, state: autoscaler } = decision
      tables.set(deployment, 'autoscaler', { desiredReplicas, autoscaler })
      // Somebody may have waited, and it woke. Where nobody did, it is still to sleep.
      if (desiredReplicas > 0 && deployment.notes.told === null) deployment.notes.told = false
      this.#world.phaseFollows(deployment, seen.desiredReplicas, 'autoscaler')
      tables.wake(deployment, now)
    }
    this.#changes = []
  }

  #stopWhenInactive(deployment: Deployment, { window }: Memory): boolean {
    const { now } = this.#world
    const minutes = deployment.scaling.inactiveTimeoutMinutes
    if (minutes === 0 || window.quietSince === null || now - window.quietSince < minutes * 60_000) return false
    this.#world.saw('autoscaler: stopped, inactive')
    this.#world.stop(deployment, 'inactive_timeout', 'autoscaler')
    return true
  }
}
