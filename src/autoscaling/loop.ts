/**
 * The autoscaler: brings what the gateways report together, asks `decide`, and writes what it says. It is the only one
 * that changes the wanted number of a running deployment by itself. Its window of samples lives in memory (a missing
 * sample is missing, never zero); what it counted is stored, so that a restart forgets no look and no cooldown.
 */
import { demandReports } from '../access/gateways.ts'
import type { DeploymentContext } from '../deployments/context.ts'
import { roomToGrow } from '../deployments/quota.ts'
import { saveLimited } from '../deployments/quota-store.ts'
import { limitsOf, policyOf, type ScalingPolicy } from '../deployments/scaling.ts'
import { stopDeployment } from '../deployments/stop-start.ts'
import * as deployments from '../deployments/store.ts'
import { canonical } from '../kernel/canonical.ts'
import type { Log } from '../runtime/log.ts'
import { demandChannel } from '../store/tables.ts'
import { decide } from './decide.ts'
import { Demands } from './demands.ts'
import { type Memory, recall, sampleOf } from './memory.ts'
import { catchUp, dueAt, Readings } from './quiet.ts'
import { Rows } from './rows.ts'
import { type Cause, type DecideSettings, type Decision, moveTo, type ScalingState } from './state.ts'
import {
  insertDecision,
  type ScaledRow,
  type ScalingCause,
  saveState,
  saveStates,
  setDesiredReplicas,
} from './store.ts'
import { addSample, type Sample } from './window.ts'

/** Wakes come by notification; between them it looks this often. */
const tickMs = 1_000
const errorPauseMs = 1_000
/** A look that is due later than any can be: the clock was set back. */
const farMs = 60_000
const savedTogether = 500

export interface AutoscalerContext extends DeploymentContext {
  log: Log
  decideSettings: DecideSettings
}

interface Kept extends Memory {
  /** The look before; null = there was none. */
  before: { row: ScaledRow; at: number } | null
  /** When to look again although nobody asks, ms since epoch. */
  dueAt: number
  /** What the database has of the state. */
  stored: string
  /** When more was last wanted than may be had; null = it may. */
  refusedAt: number | null
}

/** What came of a decision. */
interface Outcome {
  state: ScalingState
  /** Something was written that the reconciler should look at. */
  changed: boolean
  limited: boolean
}

const causeWords: Record<Cause, ScalingCause | null> = {
  load: 'load',
  latency: 'load',
  idle: 'idle',
  wake: 'request',
  limits: 'limits',
  schedule: 'schedule',
  'cooldown-held': null,
  'no-reports': null,
  steady: null,
}

export class Autoscaler {
  readonly #context: AutoscalerContext
  readonly #memory = new Map<string, Kept>()
  readonly #demands = new Demands()
  readonly #rows: Rows
  readonly #readings = new Readings()
  /** Whether reports came, and of all gateways. */
  #heard = ''
  /** Of the look before: that they are no longer is news too. */
  #active: ReadonlySet<string> = new Set()
  /** To be looked at; a look that fails leaves its deployment, and those after it, for the next. */
  readonly #due = new Set<string>()
  /** States to be written. */
  readonly #counted = new Map<string, ScalingState>()

  constructor(context: AutoscalerContext) {
    this.#context = context
    this.#rows = new Rows(context.db)
  }

  /** Runs until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { db, clock, log } = this.#context
    let stop = new AbortController()
    let poked = false
    const unlisten = db.listen(demandChannel, () => {
      poked = true
      stop.abort()
    })
    while (!signal.aborted) {
      poked = false
      stop = new AbortController()
      try {
        await this.tick()
      } catch (error) {
        log.error({ error: (error as Error).stack ?? String(error) }, 'the autoscaler stumbled')
        await clock.sleep(errorPauseMs, signal)
      }
      if (!poked) await clock.sleep(tickMs, AbortSignal.any([signal, stop.signal]))
    }
    unlisten()
  }

  /** One look at everything that runs and has something to it: it was changed, somebody asks, or a look is due. */
  async tick(): Promise<void> {
    const { db, clock } = this.#context
    const now = clock.now()
    const [changed, reports] = await Promise.all([this.#rows.refresh(now), demandReports(db, now)])
    const active = this.#demands.active(reports.gateways, this.#rows.ownerOf)
    for (const id of [...changed, ...active, ...this.#active]) this.#due.add(id)
    // Reports that stop, come back or are no longer whole concern everybody.
    const heard = `${reports.gateways.length > 0} ${reports.complete}`
    const turned = heard !== this.#heard
    for (const [id, { dueAt }] of this.#memory) if (turned || dueAt <= now || dueAt > now + farMs) this.#due.add(id)
    this.#heard = heard
    this.#active = active
    for (const id of changed) if (this.#rows.get(id) === undefined) this.#memory.delete(id)
    const rows = [...this.#due].flatMap((id) => this.#rows.get(id) ?? [])
    // One that is silent may be busy; what the others say is true all the same, and somebody may wait there.
    const asked = this.#demands.gather(reports.gateways, rows)
    for (const row of rows) {
      const said = reports.gateways.length === 0 ? undefined : asked.get(row.id)
      await this.#lookAt(row, said === undefined ? null : sampleOf(row, said, reports.complete, now), now)
      this.#due.delete(row.id)
    }
    // Whoever is left is gone.
    this.#due.clear()
    if (reports.gateways.length > 0) this.#readings.add(now, reports.complete)
    await this.#saveCounted()
  }

  /** What was only counted is written for all together. */
  async #saveCounted(): Promise<void> {
    while (this.#counted.size > 0) {
      const batch = new Map([...this.#counted].slice(0, savedTogether))
      await this.#context.db.tx((tx) => saveStates(tx, batch))
      for (const id of batch.keys()) this.#counted.delete(id)
    }
  }

  async #lookAt(row: ScaledRow, sample: Sample | null, now: number): Promise<void> {
    const memory = this.#remember(row, now)
    memory.window = catchUp(memory.window, memory.before, this.#readings, now)
    memory.before = { row, at: now }
    if (sample !== null) memory.window = addSample(memory.window, sample)
    const policy = policyOf(row)
    if (await this.#stopWhenInactive(row, policy, memory, now)) return
    const decision = decide({
      window: memory.window,
      policy,
      state: memory.state,
      sla: { ttftTargetMs: null },
      capacityPerReplica: this.#capacity(row),
      now,
      settings: this.#context.decideSettings,
      override: limitsOf(row),
    })
    const { freshSeconds } = this.#context.decideSettings
    const rules = { window: memory.window, inactiveMinutes: policy.inactiveTimeoutMinutes, freshSeconds }
    memory.dueAt = dueAt(decision, rules, now)
    if (decision.desired === row.desired_replicas) await this.#keep(row, memory, decision, now)
    else await this.#change(row, memory, decision, now)
  }

  #remember(row: ScaledRow, now: number): Kept {
    const known = this.#memory.get(row.id)
    const memory: Kept = {
      stored: known?.stored ?? countedText(row.autoscaler),
      refusedAt: known?.refusedAt ?? null,
      before: known?.before ?? null,
      dueAt: 0,
      ...recall(known ?? null, row, now),
    }
    this.#memory.set(row.id, memory)
    return memory
  }

  /** Requests at once that one replica's engine takes. */
  #capacity({ spec }: ScaledRow): number {
    const engine = this.#context.engines.get(spec.engine.type)
    return engine?.limits(spec.engine, { contextSize: spec.engine.maxModelLen ?? 4_096 }).sequences ?? 1
  }

  async #keep(row: ScaledRow, memory: Kept, decision: Decision, now: number): Promise<void> {
    memory.state = decision.state
    if (row.limited === null) memory.refusedAt = null
    else await this.#unlimit(row, memory, now)
    const text = countedText(decision.state)
    if (text === memory.stored) return
    this.#counted.set(row.id, decision.state)
    memory.stored = text
  }

  /** Nobody has wanted more than there is for two looks: what was refused is no longer news. */
  async #unlimit(row: ScaledRow, memory: Kept, now: number): Promise<void> {
    const { decideSettings, db, wake } = this.#context
    const slow = row.desired_replicas > 0 && policyOf(row).policy === 'steps'
    const pauseMs = 2_000 * (slow ? decideSettings.lookEverySeconds : decideSettings.fastLookSeconds)
    const until = (memory.refusedAt ?? 0) + pauseMs
    if (now < until) memory.dueAt = Math.min(memory.dueAt, until)
    else {
      memory.refusedAt = null
      await db.tx((tx) => saveLimited(tx, row.id, null, new Date(now)))
      wake()
    }
  }

  async #change(row: ScaledRow, memory: Kept, decision: Decision, now: number): Promise<void> {
    const { db, wake } = this.#context
    // Whatever comes of it, the next look sees.
    memory.dueAt = 0
    const at = new Date(now)
    const cause = causeWords[decision.cause] ?? 'load'
    const outcome = await db.tx(async (tx): Promise<Outcome | null> => {
      // Before the row, as people's changes do: whoever holds rows never waits for the quota.
      await deployments.lockOrg(tx, row.org_id)
      const locked = await deployments.lockDeployment(tx, row.id)
      if (locked?.desired !== 'running' || locked.desired_replicas !== row.desired_replicas) return null
      // A window began or ended, or another policy came meanwhile: the next look decides by that.
      if (canonical(rulesOf(locked)) !== canonical(rulesOf(row))) return null
      const { id, org_id, spec, desired_replicas: desiredReplicas } = locked
      const holding = { id, spec, scaling: policyOf(locked), desiredReplicas }
      const { to, limited } = await roomToGrow(tx, org_id, holding, decision.desired, this.#context)
      const why = limited === null ? decision.why : `${decision.why} ${limited.message}`
      const state = stateAfter(memory.state, decision, to, now)
      const news = canonical(limited) !== canonical(locked.limited)
      if (news) await saveLimited(tx, id, limited, at)
      if (to !== desiredReplicas) {
        await setDesiredReplicas(tx, { row: locked, to, cause, why, at })
        await saveState(tx, id, state)
        // That it grew only in part is told with it; that it did not is told once, not at every look.
      } else if (news) await insertDecision(tx, { row: locked, to, cause, why, at })
      return { state, changed: news || to !== desiredReplicas, limited: limited !== null }
    })
    // Somebody was faster: nothing was written, so nothing is remembered.
    if (outcome === null) return
    memory.refusedAt = outcome.limited ? now : null
    memory.state = outcome.state
    this.#counted.delete(row.id)
    if (outcome.changed) wake()
  }

  /** Nobody asked for so long that it is stopped, not put to sleep: only a person brings it back. */
  async #stopWhenInactive(row: ScaledRow, policy: ScalingPolicy, memory: Kept, now: number): Promise<boolean> {
    const { quietSince } = memory.window
    if (policy.inactiveTimeoutMinutes === 0 || quietSince === null) return false
    if (now - quietSince < policy.inactiveTimeoutMinutes * 60_000) return false
    await this.#context.db.tx(async (tx) => {
      const locked = await deployments.lockDeployment(tx, row.id)
      if (locked?.desired !== 'running' || canonical(rulesOf(locked)) !== canonical(rulesOf(row))) return
      await stopDeployment(tx, locked, { cause: 'inactive_timeout', by: 'inactive_timeout' }, new Date(now))
    })
    this.#context.wake()
    return true
  }
}

/** The state when `to` replicas could be had. What asked for more goes on asking at the next look. */
function stateAfter(before: ScalingState, decision: Decision, to: number, now: number): ScalingState {
  if (to === decision.desired) return decision.state
  return to === before.desired ? { ...before, lookedAt: decision.state.lookedAt } : moveTo(before, to, now)
}

/** What is worth writing of a state: not the moment of its last look. */
function countedText(state: object): string {
  const { lookedAt: _moment, ...counted } = state as Partial<ScalingState>
  return canonical(counted)
}

/** What a decision is bound by and others write. */
function rulesOf(row: Pick<ScaledRow, 'scaling' | 'spec' | 'calendar'>): object {
  return { policy: policyOf(row), limits: limitsOf(row) }
}
