/**
 * The paper world: deployments, replicas, a provider with machines, control processes that take turns, an autoscaler,
 * gateways with requests. Everything that decides is the real thing; what would wait, ask or store is paper: no
 * promises, no clock, no database, so that tens of thousands of steps pass in a second.
 */
import { strict as assert } from 'node:assert'
import { type DecideSettings, defaultDecideSettings } from '../../src/autoscaling/state.ts'
import type { PlanSettings } from '../../src/deployments/situation.ts'
import type { StopCause } from '../../src/deployments/stopped.ts'
import { reasonOf } from '../../src/kernel/phase.ts'
import { PaperAutoscaler } from './autoscaler.ts'
import { PaperGateway } from './gateways.ts'
import { Provider } from './provider.ts'
import { Random } from './random.ts'
import { type Rules, realRules } from './rules.ts'
import { type Deployment, type Row, Tables, type Writer } from './tables.ts'
import { revisionOf, Turn } from './turns.ts'
import { PaperWatcher } from './watchers.ts'

export const settings: PlanSettings = {
  startDeadlineMs: 60_000,
  stableMs: 5_000,
  brakeAfter: 5,
  rollbackAfter: 2,
  backoffMs: 2_000,
  backoffMaximumMs: 60_000,
  unresponsiveMs: 30_000,
  drainDeadlineMs: 60_000,
}

/** Everything about ten times as fast as it is in the product, so that a short run sees all of it. */
export const decideSettings: DecideSettings = {
  ...defaultDecideSettings,
  lookEverySeconds: 3,
  fastLookSeconds: 1,
  windowSeconds: 8,
  panicSeconds: 2,
}

/** Long enough to be seen ready, and not to count as a start that worked. */
const fragileMs = 3_000
const owners = ['control_a', 'control_b']
const gatewayIds = ['gw_a', 'gw_b']
export const lostGateway = 'gw_lost'

export class World {
  now = 1_800_000_000_000
  readonly random: Random
  readonly rules: Rules
  readonly tables = new Tables()
  readonly provider: Provider
  readonly autoscaler: PaperAutoscaler
  gateways: PaperGateway[]
  /** One for each control process. */
  readonly watchers: Map<string, PaperWatcher>
  /** Turns that have begun and are not over, also those of dead holders that may yet wake up. */
  turns: Turn[] = []
  /** The sweep under way, with the rows there were as it began. */
  sweeping: { before: Set<string>; listed: string[] | null } | null = null
  /** How often each situation arose that the world is there to try. */
  readonly situations: Map<string, number>
  /** What happened so far: moment, event, and what came of it. */
  readonly trace: string[][] = []
  /** Requests so far. */
  requests = 0

  constructor(seed: number, rules: Rules = realRules, situations = new Map<string, number>()) {
    this.situations = situations
    this.random = new Random(seed)
    this.rules = rules
    this.provider = new Provider(this.random)
    this.provider.onDown = (id) => {
      for (const gateway of this.gateways) gateway.cut(id)
    }
    this.autoscaler = new PaperAutoscaler(this)
    this.watchers = new Map(owners.map((owner) => [owner, new PaperWatcher(this)]))
    this.gateways = gatewayIds.map((id) => new PaperGateway(this, id))
  }

  saw(situation: string): void {
    this.situations.set(situation, (this.situations.get(situation) ?? 0) + 1)
  }

  alive(): Deployment[] {
    return this.tables.deployments.filter((deployment) => deployment.desired !== 'deleted')
  }

  isBad(id: string): boolean {
    const row = this.tables.live.get(id)
    if (row === undefined) return false
    return revisionOf(this.tables.deployments.find((d) => d.id === row.deploymentId)!, row).bad
  }

  /** Its engine answers, and dies of what it is within seconds. */
  isFragile(id: string): boolean {
    const row = this.tables.live.get(id)
    if (row === undefined) return false
    return revisionOf(this.tables.deployments.find((d) => d.id === row.deploymentId)!, row).fragile
  }

  /** What time does to machines: the fragile ones die. */
  wearOut(): void {
    for (const machine of this.provider.machines.values())
      if (
        machine.state === 'up' &&
        this.now - (machine.answeredAt ?? this.now) >= fragileMs &&
        this.isFragile(machine.id)
      )
        this.provider.kill(machine, this.now)
  }

  /** A control process claims a deployment and looks. Null: nothing is due. */
  beginTurn(deployment: Deployment): Turn | null {
    const token = this.tables.claim(deployment, this.random.pick(owners)!, this.now)
    if (token === null) return null
    const turn = new Turn(this, deployment, token)
    if (turn.stage !== 'over') this.turns.push(turn)
    return turn
  }

  endTurns(): void {
    this.turns = this.turns.filter((turn) => turn.stage !== 'over')
  }

  /** A control process dies at the line where each of its turns stands; the next one begins at once. */
  restartControl(): string {
    const owner = this.random.pick(owners)!
    this.turns = this.turns.filter((turn) => !turn.token.startsWith(`${owner}.`))
    this.watchers.set(owner, new PaperWatcher(this))
    this.tables.takeOver(owner, this.now)
    return owner
  }

  /** A gateway dies with all its requests; its successor knows nothing yet, and the register still knows the old one. */
  restartGateway(): string {
    const at = this.random.int(0, this.gateways.length - 1)
    this.gateways[at] = new PaperGateway(this, gatewayIds[at]!)
    return gatewayIds[at]!
  }

  /** A third one, which nobody asked anything, died for good; the register knows it until somebody strikes it off. */
  loseGateway(): string {
    const { register, routesVersion } = this.tables
    const seenAt = new Date(this.now)
    register.set(lostGateway, { id: lostGateway, keyringVersion: 0, routesVersion, inFlight: {}, demand: {}, seenAt })
    return lostGateway
  }

  removeMachine(row: Row): void {
    if (row.drainedAway)
      for (const gateway of this.gateways)
        assert(!gateway.flying.has(row.id), `${row.id} is removed as drained while ${gateway.id} has requests on it`)
    this.provider.delete(row.id, () => this.now)
  }

  /** One step of the sweep: it begins, lists the machines, removes those of them that nobody owns. */
  sweep(): string {
    const { tables, provider, rules, sweeping } = this
    if (sweeping === null) {
      this.sweeping = { before: new Set(tables.live.keys()), listed: null }
      return 'begins'
    }
    if (sweeping.listed === null) {
      sweeping.listed = provider.list()
      if (sweeping.listed === null) this.sweeping = null
      return 'lists'
    }
    this.sweeping = null
    const { listed, before } = sweeping
    for (const id of rules.orphansAmong(listed, rules.ownedAtSweep(listed, tables, before))) {
      this.saw('sweep: an orphan removed')
      assert(!tables.live.has(id), `the sweep removes ${id}, which has an owner`)
      provider.delete(id, () => this.now)
    }
    return 'removes'
  }

  /** Whoever stops it: the gateways refuse from then on. */
  stop(deployment: Deployment, stoppedBy: StopCause, writer: Writer): void {
    const reason = reasonOf('stopping', new Date(this.now))
    this.tables.set(deployment, writer, { desired: 'stopped', stoppedBy, phase: 'stopping', reason })
    deployment.notes.shut = true
    this.tables.publish({ ...this.tables.routes.get(deployment.id)!, phase: 'stopping', reason })
    this.tables.wake(deployment, this.now)
  }

  /** The phase follows a changed number at once; the reconciler takes it from there. */
  phaseFollows(deployment: Deployment, from: number, writer: Writer): void {
    const { desired, desiredReplicas: to, phase } = deployment
    if (desired !== 'running' || phase === 'failed' || (to > 0 && from > 0)) return
    const next = to === 0 ? 'asleep' : 'waking'
    this.tables.set(deployment, writer, { phase: next, reason: reasonOf(next, new Date(this.now)) })
  }
}
