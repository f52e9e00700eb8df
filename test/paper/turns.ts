/**
 * One turn of the reconciler, line by line as `src/deployments/turn.ts` takes it: load, record, each call to the
 * provider, apply. It may stop for ever, or for longer than its claim lasts, between any two of them.
 */
import { strict as assert } from 'node:assert'
import type { Offer } from '../../src/compute/contract.ts'
import type { Action, Plan } from '../../src/deployments/plan.ts'
import { sameRoute } from '../../src/deployments/publish.ts'
import { isCalm, isLost, isStaying, type ReplicaPatch, type ReplicaView } from '../../src/deployments/replica.ts'
import type { PlanInput, Wish } from '../../src/deployments/situation.ts'
import type { Reply } from './provider.ts'
import type { Deployment, Revision, Row } from './tables.ts'
import type { PaperWatcher } from './watchers.ts'
import { settings, type World } from './world.ts'

export type Stage = 'record' | 'act' | 'apply' | 'over'
type Call = Extract<Action, { do: 'create' | 'delete' }>

const born = new Date(0)
const place = { address: '10.0.0.1', port: 1, key: '', weight: 100, modelId: 'model', engine: 'llamacpp' as const }

export class Turn {
  readonly deployment: Deployment
  readonly token: string
  stage: Stage = 'record'
  readonly #world: World
  readonly #claim: number
  readonly #input: PlanInput
  readonly #wish: Wish
  readonly #result: Plan
  #calls: Call[] = []
  /** Taken away just now, sound as they were, because nothing was left on them. */
  readonly #drainedNow: Row[] = []
  #outcomes: { row: Row; reply: Reply | 'rejected' }[] = []
  #unanswered = 0
  #nextAt: number | null = null

  constructor(world: World, deployment: Deployment, token: string) {
    this.#world = world
    this.deployment = deployment
    this.token = token
    this.#claim = deployment.notes.claims
    this.#wish = world.tables.wishOf(deployment)
    const watcher = world.watchers.get(ownerOf(token))!
    const { input, result } = decide(world, load(world, deployment, watcher))
    this.#input = input
    this.#result = result
    if (!this.#isQuiet()) return
    world.saw('turn: nothing to do')
    this.stage = 'over'
    watcher.follow(deployment.id, this.#followed())
    world.tables.release(deployment, token, result.wakeAt)
  }

  /** The next line. */
  step(): void {
    if (this.stage === 'record') this.#record()
    else if (this.stage === 'act') this.#act()
    else if (this.stage === 'apply') this.#apply()
  }

  /** All that are left. */
  finish(): void {
    while (this.stage !== 'over') this.step()
  }

  #record(): void {
    const { deployment, token } = this
    const { tables, rules, now } = this.#world
    const result = this.#result
    this.stage = 'over'
    if (!this.#mayWrite()) return
    if (!rules.sameWish(this.#wish, tables.wishOf(deployment))) {
      this.#world.saw('turn: the wish changed while it looked')
      tables.release(deployment, token, now)
      return
    }
    const before = deployment.rows.filter(isStaying).length
    const made: Row[] = []
    let takes = false
    this.#noteFailures()
    for (const action of result.actions) {
      if (action.do === 'update') this.#update(action.replicaId, action.patch)
      if (action.do === 'fail_revision') this.#failRevision(action.revisionId)
      if (action.do === 'plan_replica') {
        takes = true
        made.push(...this.#reserve(action))
      }
    }
    const { phase, reason, readyReplicas, starts, why } = result
    tables.set(deployment, 'turn', { phase, reason, readyReplicas, starts, why })
    this.#world.saw(`phase: ${phase}`)
    this.#publish()
    rules.afterRecord(tables, deployment)
    this.#note(before, made)
    const created = made.filter((row) => row.after === null)
    this.#calls = [
      ...created.map((row): Call => ({ do: 'create', replicaId: row.id })),
      ...result.actions.filter((action) => action.do === 'create' || action.do === 'delete'),
    ]
    const asks = result.actions.some((action) => action.do === 'create' || action.do === 'delete')
    const { wakeAt } = result
    const nextAt = rules.lookAgainAt({ wakeAt, wanted: takes, created: created.length, now })
    this.#nextAt = nextAt
    if (!asks && created.length === 0) tables.release(deployment, token, nextAt)
    this.#world.watchers.get(ownerOf(token))?.follow(deployment.id, this.#followed())
    if (this.#calls.length > 0) this.stage = 'act'
  }

  /** Nothing to write and nobody to call: it is released as it is. */
  #isQuiet(): boolean {
    const { actions, phase, readyReplicas, starts, reason, why } = this.#result
    const before = this.deployment
    return (
      actions.length === 0 &&
      before.phase === phase &&
      before.readyReplicas === readyReplicas &&
      before.starts.failed === starts.failed &&
      before.reason?.code === reason?.code &&
      before.reason?.message === reason?.message &&
      before.why.join() === why.join() &&
      this.#world.tables.routes.get(before.id)?.phase === phase
    )
  }

  /** The replicas as the plan leaves them. */
  #followed(): ReplicaView[] {
    const patches = new Map(
      this.#result.actions.flatMap((a) => (a.do === 'update' ? [[a.replicaId, a.patch] as const] : [])),
    )
    return this.#input.replicas.map((view) => ({ ...view, ...patches.get(view.id) }))
  }

  /** The claim holds; and if it is taken to hold although somebody claimed after us, that is found here. */
  #mayWrite(): boolean {
    if (!this.#world.rules.holdsLease(this.deployment, this.token)) {
      this.#world.saw('turn: its claim was lost')
      return false
    }
    const { id, notes } = this.deployment
    assert.equal(this.#claim, notes.claims, `two owners: an earlier claim of ${id} writes`)
    return true
  }

  #update(replicaId: string, patch: Extract<Action, { do: 'update' }>['patch']): void {
    const { tables, now } = this.#world
    const row = tables.live.get(replicaId)!
    const view = this.#input.replicas.find((replica) => replica.id === replicaId)!
    if (row.phase === 'draining' && patch.phase === 'deleting' && !patch.exit)
      row.drainedAway = view.drained && this.deployment.desired !== 'deleted'
    const sound = view.seen?.state === 'running' && view.probe?.state === 'ready' && view.unhealthySince === null
    if (row.drainedAway && sound) this.#drainedNow.push(row)
    this.#saw(row, patch)
    tables.patchReplica(row, patch)
    if (patch.readyAt !== undefined) revisionOf(this.deployment, row).proven = true
    if (row.phase === 'gone') tables.wakeQueued(now)
  }

  #saw(row: Row, { phase, drainAt, exit }: Extract<Action, { do: 'update' }>['patch']): void {
    const saw = (what: string) => this.#world.saw(`replica: ${what}`)
    if (phase === 'ready') saw(drainAt === null ? 'its drain called off' : 'ready')
    if (phase === 'draining') saw('draining')
    if (exit) saw(row.readyAt === null ? 'its start failed' : exit.lastLines.length > 0 ? 'died' : 'lost or silent')
    else if (phase === 'deleting' && row.phase === 'draining')
      saw(row.drainedAway ? 'drained' : 'past its drain deadline')
  }

  /** Starts that this turn finds to have failed. */
  #noteFailures(): void {
    for (const action of this.#result.actions) {
      if (action.do !== 'update' || !action.patch.exit) continue
      const row = this.#world.tables.live.get(action.replicaId)!
      if (row.phase === 'planned' || row.phase === 'starting') this.#failed(row)
    }
    for (const view of this.#input.replicas) this.#noteEarlyEnd(view)
  }

  /** Ready, and soon ended or silent for good. */
  #noteEarlyEnd(view: ReplicaView): void {
    const row = this.#world.tables.live.get(view.id)!
    const patch = this.#result.actions.find((action) => action.do === 'update' && action.replicaId === view.id)
    const exit = patch?.do === 'update' ? patch.patch.exit : undefined
    const endedAt = exit?.at ?? (isLost(view, this.#world.now, settings) ? view.unhealthySince : null)
    if (view.phase !== 'ready' || endedAt === null || row.endCounted) return
    if (endedAt >= view.readyAt! + settings.stableMs!) return
    this.#world.saw('replica: soon ended')
    row.endCounted = true
    this.deployment.notes.failures += 1
  }

  #failed(row: Row): void {
    this.deployment.notes.failures += 1
    revisionOf(this.deployment, row).failures += 1
  }

  #failRevision(id: string): void {
    const { deployment } = this
    const revision = deployment.revisions.find((one) => one.id === id)!
    assert(!revision.proven, `${deployment.id} gave revision ${revision.number} up, which had been ready`)
    assert(
      revision.failures >= settings.rollbackAfter || revision.number !== this.#wish.revision,
      `${deployment.id} gave revision ${revision.number} up after ${revision.failures} failed starts of its own`,
    )
    this.#world.saw('turn: a revision given up')
    revision.failed = true
    deployment.revision = deployment.revisions.find((one) => !one.failed)!.number
  }

  #reserve({ revisionId, placement, after }: Extract<Action, { do: 'plan_replica' }>): Row[] {
    const { tables, rules, now } = this.#world
    if (after === null && !rules.hasRoom(placement, this.#input.offers, tables.heldUnits())) {
      this.#world.saw('turn: the place was taken meanwhile')
      return []
    }
    if (after !== null) this.#world.saw('turn: rolls in place')
    const row = tables.insertReplica(this.deployment, revisionId, placement, after, now)
    const held = tables.heldUnits()[0]!.units - (after === null ? 0 : placement.gpuCount)
    if (after === null)
      assert(held <= this.#input.offers[0]!.totalUnits, `${row.id} holds hardware that does not exist: ${held} units`)
    return [row]
  }

  #publish(): void {
    const { deployment } = this
    const { tables, rules } = this.#world
    const { id, desired, phase, reason, rows } = deployment
    const route = rules.makeRoute({
      deployment: {
        id,
        orgId: 'org',
        name: id,
        modelId: 'model',
        emulated: false,
        servedBy: null,
        createdAt: born,
        desired,
      },
      engine: 'llamacpp',
      contextTokens: 0,
      phase,
      reason,
      replicas: rows.map((row) => ({ ...place, id: row.id, phase: row.phase, silent: row.unhealthySince !== null })),
    })
    const published = tables.routes.get(id) ?? null
    const version = sameRoute(published, route) ? published!.version : tables.publish(route)
    for (const row of rows) if (row.phase === 'draining' && row.drainVersion === null) row.drainVersion = version
  }

  /** What the invariants want to know of this turn. */
  #note(before: number, made: Row[]): void {
    const { deployment } = this
    const { desired, desiredReplicas, phase, notes, rows } = deployment
    const { now, provider } = this.#world
    const staying = rows.filter(isStaying)
    const wanted = desired === 'running' && phase !== 'failed' ? desiredReplicas : 0
    const rolling = new Set(staying.map((row) => row.revisionId)).size > 1 ? 1 : 0
    const lost = staying.filter((row) => isLost(row, now, settings)).length
    notes.overshoot = staying.length > Math.max(before, desiredReplicas + rolling + lost)
    const drains = this.#patches().some((patch) => patch.phase === 'draining')
    const inPlace = made.some((row) => row.after !== null)
    notes.gap = drains && !inPlace && staying.filter((row) => row.phase === 'ready').length < wanted
    const target = deployment.revisions.find((one) => one.number === deployment.revision)
    // Those that this turn has only just planned come later than one that is there.
    const coming = staying.filter((row) => row.revisionId === target?.id && !made.includes(row)).length
    notes.wasted = this.#drainedNow.some((row) => row.revisionId === target?.id) && coming < wanted
    const served = [...rows, ...this.#input.replicas].filter(
      (one) => one.phase === 'ready' && !isLost(one, now, settings) && provider.machines.get(one.id)?.answers,
    )
    notes.struck = phase === 'failed' && served.length > 0
    const silent = this.#patches().some((patch) => patch.phase === 'deleting' && patch.exit?.why.includes('no probe'))
    notes.hasty = wanted > 0 && silent && served.length + made.length === 0
  }

  #patches(): ReplicaPatch[] {
    return this.#result.actions.flatMap((action) => (action.do === 'update' ? [action.patch] : []))
  }

  #act(): void {
    const { tables, provider, random } = this.#world
    const call = this.#calls.splice(random.int(0, this.#calls.length - 1), 1)[0]!
    if (this.#calls.length === 0) this.stage = 'apply'
    const row = tables.live.get(call.replicaId)
    if (row === undefined) return
    if (call.do === 'delete') {
      this.#world.removeMachine(row)
      return
    }
    if (row.phase !== 'planned') return
    const rejected = provider.faults && provider.up && random.chance(0.02) && !provider.machines.has(row.id)
    const reply = rejected ? 'rejected' : provider.create(row.id, row.placement.gpuCount, () => this.#world.now)
    this.#world.saw(`create: ${reply}`)
    if (reply === 'no reply') this.#unanswered += 1
    else this.#outcomes.push({ row, reply })
  }

  #apply(): void {
    const { deployment, token } = this
    const { tables, rules, now } = this.#world
    this.stage = 'over'
    if (!this.#mayWrite()) return
    const started: Row[] = []
    for (const { row, reply } of this.#outcomes) {
      if (reply !== 'done') this.#refuse(row, reply)
      else if (row.phase === 'planned') started.push(Object.assign(row, { phase: 'starting' as const, startedAt: now }))
    }
    const refused = this.#outcomes.filter(({ reply }) => reply !== 'done').length
    const counts = { started: this.#outcomes.length - refused, refused, unanswered: this.#unanswered }
    tables.release(deployment, token, rules.lookAfterActingAt({ nextAt: this.#nextAt, ...counts, now }))
    if (started.length === 0) return
    const views = started.map((row) => ({ ...row, seen: null, probe: null, drained: false }))
    this.#world.watchers.get(ownerOf(token))?.follow(deployment.id, [...this.#followed(), ...views])
  }

  #refuse(row: Row, reply: Reply | 'rejected'): void {
    const { deployment } = this
    const { tables, now } = this.#world
    const exit = { at: now, code: null, signal: null, lastLines: [], why: `It was refused: ${reply}.` }
    // One that took over a place goes as one that ran does: the place is passed on before it is free.
    const keepsPlace = row.after !== null && reply !== 'short'
    const gone = keepsPlace ? { phase: 'deleting' as const } : { phase: 'gone' as const, goneAt: now }
    tables.patchReplica(row, { ...gone, endedAt: now, exit })
    if (reply === 'short') return
    this.#failed(row)
    if (revisionOf(deployment, row).number !== deployment.revision) return
    const starts = { failed: deployment.starts.failed + 1, lastAt: now, why: exit.why, lastLines: [] }
    tables.set(deployment, 'turn', { starts })
  }
}

export function revisionOf(deployment: Deployment, row: Pick<Row, 'revisionId'>): Revision {
  return deployment.revisions.find((revision) => revision.id === row.revisionId)!
}

function ownerOf(token: string): string {
  return token.slice(0, token.lastIndexOf('.'))
}

/** Hardware is asked for only where that matters. */
function decide(world: World, input: PlanInput): { input: PlanInput; result: Plan } {
  const result = world.rules.plan(input)
  const serves = input.replicas.some(({ phase }) => phase === 'ready' || phase === 'draining')
  if (serves && !result.asksHardware) return { input, result }
  const asked = { ...input, offers: freeOffers(world) }
  return { input: asked, result: world.rules.plan(asked) }
}

function load(world: World, deployment: Deployment, watcher: PaperWatcher): PlanInput {
  const { id, desired, desiredReplicas, phase, reason, starts, revisions, rows } = deployment
  const input: PlanInput = {
    deployment: { id, desired, desiredReplicas, phase, reason, starts, stopped: stoppedOf(deployment) },
    revisions: revisions.map((revision) => ({ ...revision })),
    replicas: rows.map((row) => viewOf(world, row, watcher)),
    offers: [],
    now: world.now,
    settings,
  }
  // A decision that writes into what it was given would be found here; not every time, it takes long.
  return world.random.chance(0.05) ? frozen(input) : input
}

function stoppedOf({ desired, stoppedBy }: Deployment): PlanInput['deployment']['stopped'] {
  return desired === 'stopped' ? { by: stoppedBy ?? 'person', until: null, refused: null } : null
}

/** What a replica's row and what is seen of the replica say together. */
export function viewOf(world: World, row: Row, watcher: Pick<PaperWatcher, 'recall'>): ReplicaView {
  const { provider, tables, rules, now } = world
  const seen = row.phase === 'planned' ? null : provider.observe(row.id)
  const drained =
    row.phase === 'draining' &&
    row.drainVersion !== null &&
    rules.isDrained([...tables.register.values()], row.id, row.drainVersion, now)
  if (isCalm(row)) return { ...row, seen, probe: watcher.recall(row.id), drained }
  const asked = seen?.state === 'running' && row.phase !== 'deleting'
  return { ...row, seen, probe: asked ? provider.probe(row.id) : null, drained }
}

export function freeOffers({ provider, tables }: World): Offer[] {
  const held = tables.heldUnits()[0]!.units
  return provider.offers().map((offer) => {
    return { ...offer, freeUnits: Math.max(0, Math.min(offer.freeUnits, offer.totalUnits - held)) }
  })
}

function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  for (const part of Object.values(value)) frozen(part)
  return Object.freeze(value)
}
