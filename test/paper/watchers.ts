/** The watcher of one control process on paper: what turns left behind is looked at, and a turn asked for when it calls for one. */

import { isCalm, type ReplicaView } from '../../src/deployments/replica.ts'
import type { Readiness } from '../../src/engines/contract.ts'
import { settings, type World } from './world.ts'

const heardMs = 10_000

export class PaperWatcher {
  readonly #world: World
  readonly #followed = new Map<string, ReplicaView[]>()
  readonly #heard = new Map<string, { probe: Readiness | null; at: number }>()

  constructor(world: World) {
    this.#world = world
  }

  /** What a turn left behind; replaces what was watched of the deployment. */
  follow(deploymentId: string, views: ReplicaView[]): void {
    const watched = views.filter(({ phase }) => phase !== 'planned' && phase !== 'gone')
    if (watched.length > 0) this.#followed.set(deploymentId, watched)
    else this.#followed.delete(deploymentId)
  }

  /** The last answer of a ready engine; null = nothing of late. */
  recall(replicaId: string): Readiness | null {
    const heard = this.#heard.get(replicaId)
    return heard !== undefined && this.#world.now - heard.at <= heardMs ? heard.probe : null
  }

  look(): void {
    const { provider, tables, rules, now } = this.#world
    for (const [deploymentId, views] of this.#followed) {
      let calls = false
      for (const view of views) {
        const seen = provider.observe(view.id)
        const probe = seen?.state === 'running' && view.phase !== 'deleting' ? provider.probe(view.id) : null
        // What is written down now and then; what it remembers itself is never older.
        const row = tables.live.get(view.id)
        if (row && seen?.state === 'running') row.seenAt = now
        if (isCalm(view)) this.#heard.set(view.id, { probe, at: now })
        calls ||= rules.callsForTurn({ ...view, seen, probe }, now, settings)
      }
      if (!calls) continue
      // Nobody is told twice of the same: the turn says what to watch from then on.
      this.#followed.delete(deploymentId)
      const deployment = tables.deployments.find(({ id }) => id === deploymentId)
      if (deployment) tables.wake(deployment, now)
    }
  }
}
