/**
 * The watcher: looks at every replica that runs, starts or goes, apart from turns and without the database, and asks for
 * a turn of its deployment only when what it sees calls for one (`advance` says so, as in the turn itself). Turns tell it what to watch (`follow`); since every deployment has a turn at a start and now and then after,
 * it needs no other source. What is told is not looked at again until the turn that follows.
 *
 * Replicas that are on their way are looked at one by one, the younger the more often; those that are ready all at once
 * per provider, and their engines are probed in turn, spread over the interval.
 */
import type { EngineType, Readiness } from '../engines/contract.ts'
import { spread } from '../kernel/spread.ts'
import type { Log } from '../runtime/log.ts'
import { Slots } from '../runtime/slots.ts'
import { advance } from './advance.ts'
import { askEngine, type ObserveWorld, observeMany } from './observe.ts'
import { isCalm, type ReplicaView, wantsAgain } from './replica.ts'
import type { PlanSettings } from './situation.ts'

export interface WatchWorld extends ObserveWorld {
  settings: PlanSettings
  log: Log
}

/** A replica as its row is now. */
export interface Followed {
  view: ReplicaView
  provider: string
  engine: EngineType | undefined
}

interface Watched extends Followed {
  deploymentId: string
  /** On its way: when it is looked at next; else when its engine is probed next. ms since epoch. */
  dueAt: number
  probedAt: number
  /** When its provider last said that it runs; null = not while it was watched. */
  seenAt: number | null
  /** A look or a probe is under way, or in line. */
  busy: boolean
  /** A turn was asked for. */
  told: boolean
}

/** Providers are asked about the ready ones this often. */
const calmEveryMs = 500
/** One on its way is looked at after this share of its age, within bounds. */
const hotShare = 1 / 20
const hotFirstMs = 10
const hotLongestMs = 1_000
/** An engine that is ready is probed this often; more rarely in a large fleet, so that this many per second are enough. */
const probeEveryMs = 5_000
/** So long a silent engine is listened to before that counts as its answer. */
const silentMs = 2_500
const probesPerSecond = 1_000
const looksAtOnce = 256
const errorPauseMs = 500

export class Watcher {
  readonly #world: WatchWorld
  readonly #tell: (deploymentIds: string[]) => Promise<void>
  /** By replica id; the two have none in common. */
  readonly #hot = new Map<string, Watched>()
  readonly #calm = new Map<string, Watched>()
  readonly #byDeployment = new Map<string, Watched[]>()
  readonly #slots = new Slots(looksAtOnce)
  /** Providers that have not answered yet. */
  readonly #asked = new Set<string>()
  readonly #changed = new Set<Watched>()
  #telling: Promise<void> | null = null
  #over = false
  #wakeHot: () => void = () => {}

  /** `tell` asks for turns; when it fails, it is called again. */
  constructor(world: WatchWorld, tell: (deploymentIds: string[]) => Promise<void>) {
    this.#world = world
    this.#tell = tell
  }

  /** What a turn left behind; replaces what was watched of the deployment. */
  follow(deploymentId: string, replicas: readonly Followed[]): void {
    const before = this.#byDeployment.get(deploymentId) ?? []
    for (const { view } of before) {
      this.#hot.delete(view.id)
      this.#calm.delete(view.id)
    }
    const watched = replicas
      .filter(({ view }) => view.phase !== 'planned' && view.phase !== 'gone')
      .map((followed) => this.#watched(deploymentId, followed, before))
    for (const one of watched) (isCalm(one.view) ? this.#calm : this.#hot).set(one.view.id, one)
    if (watched.length > 0) this.#byDeployment.set(deploymentId, watched)
    else this.#byDeployment.delete(deploymentId)
    if (watched.some(({ view }) => !isCalm(view))) this.#wakeHot()
  }

  /** The last answer to its probe of an engine that was ready once; null = there is none of late. */
  recall(replicaId: string): Readiness | null {
    const one = this.#calm.get(replicaId) ?? this.#hot.get(replicaId)
    if (one === undefined || this.#world.clock.now() - one.probedAt > 2 * (this.#probeEveryMs() + silentMs)) return null
    return one.view.probe
  }

  /** When the provider last said that it runs, ms since epoch; null = not while it was watched. */
  lastSeen(replicaId: string): number | null {
    return (this.#calm.get(replicaId) ?? this.#hot.get(replicaId))?.seenAt ?? null
  }

  /** Of all that serve: when each was last seen to run. */
  sighted(): { id: string; at: number }[] {
    return [...this.#calm.values()].flatMap(({ view: { id }, seenAt }) => (seenAt === null ? [] : [{ id, at: seenAt }]))
  }

  /** One look at all that is due, to its end: for whoever moves the clock by hand, instead of `run`. */
  async look(): Promise<void> {
    const now = this.#world.clock.now()
    const due = [...this.#hot.values()].filter((one) => !one.told && isDue(one, now, hotLongestMs))
    const asked = [...this.#calmByProvider()].map(([provider, list]) => this.#askProvider(provider, list))
    await Promise.all([...due.map((one) => this.#lookClosely(one)), ...asked])
    const everyMs = this.#probeEveryMs()
    await Promise.all([...this.#calm.values()].filter((one) => isDue(one, now, everyMs)).map((one) => this.#probe(one)))
    while (this.#changed.size > 0) await this.#tellChanged()
  }

  /** When one that is on its way is looked at next, ms since epoch; null = there is none. */
  get nextAt(): number | null {
    const moments = [...this.#hot.values()].filter((one) => !one.told).map(({ dueAt }) => dueAt)
    return moments.length === 0 ? null : Math.min(...moments)
  }

  /** Runs until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => (this.#over = true), { once: true })
    await Promise.all([this.#watchHot(signal), this.#watchCalm(signal)])
  }

  /** One of the same kind goes on where it was, so that a look under way counts. */
  #watched(deploymentId: string, followed: Followed, before: Watched[]): Watched {
    const now = this.#world.clock.now()
    const known = before.find(({ view }) => view.id === followed.view.id)
    if (known !== undefined && isCalm(known.view) === isCalm(followed.view)) {
      const { probe } = known.view
      return Object.assign(known, followed, { view: { ...followed.view, probe }, told: false })
    }
    // Probes begin somewhere within the interval, so that not all come at once.
    const pause = isCalm(followed.view) ? this.#probeEveryMs() * spread(followed.view.id) : pauseMs(followed.view, now)
    const dueAt = now + pause
    const view = { ...followed.view, probe: null }
    const seenAt = known?.seenAt ?? null
    const fresh = { probedAt: Number.NEGATIVE_INFINITY, seenAt, busy: false, told: false }
    return { ...followed, ...fresh, view, deploymentId, dueAt }
  }

  async #watchHot(signal: AbortSignal): Promise<void> {
    const { clock } = this.#world
    while (!signal.aborted) {
      const stop = new AbortController()
      this.#wakeHot = () => stop.abort()
      const began = clock.monotonicMs()
      const now = clock.now()
      let next = now + hotLongestMs
      for (const one of this.#hot.values()) {
        if (one.told || one.busy) continue
        if (isDue(one, now, hotLongestMs)) this.#start(one, () => this.#lookClosely(one))
        else next = Math.min(next, one.dueAt)
      }
      void this.#tellChanged()
      // However many there are, most of the time is left for others.
      await clock.sleep(Math.max(hotFirstMs, 10 * (clock.monotonicMs() - began)), signal)
      await clock.sleep(Math.max(0, next - clock.now()), AbortSignal.any([signal, stop.signal]))
    }
  }

  async #watchCalm(signal: AbortSignal): Promise<void> {
    const { clock } = this.#world
    while (!signal.aborted) {
      const now = clock.now()
      const everyMs = this.#probeEveryMs()
      for (const one of this.#calm.values())
        if (!one.told && !one.busy && isDue(one, now, everyMs)) this.#start(one, () => this.#probe(one))
      for (const [provider, list] of this.#calmByProvider()) void this.#askProvider(provider, list)
      await clock.sleep(calmEveryMs, signal)
    }
  }

  #calmByProvider(): Map<string, Watched[]> {
    return Map.groupBy(
      [...this.#calm.values()].filter((one) => !one.told),
      (one) => one.provider,
    )
  }

  #start(one: Watched, work: () => Promise<void>): void {
    one.busy = true
    this.#slots.add(async () => {
      try {
        await work()
      } catch (error) {
        this.#world.log.error({ replica: one.view.id, error: (error as Error).stack }, 'the watcher stumbled')
      } finally {
        one.busy = false
        // Not before: who is busy is passed over, and the next look would come a second later.
        if (!isCalm(one.view)) this.#wakeHot()
      }
    })
  }

  /** One that is on its way, or does not answer: its provider, then its engine. */
  async #lookClosely(one: Watched): Promise<void> {
    const { id, phase } = one.view
    const asked = this.#world.clock.now()
    const seen = (await observeMany(this.#world, one.provider, [id])).get(id) ?? null
    const logs = phase === 'starting' ? this.#world.computes.get(one.provider) : undefined
    const probe = phase === 'deleting' ? null : await askEngine(this.#world, id, seen, this.#engineOf(one), logs)
    const now = this.#world.clock.now()
    one.dueAt = now + pauseMs(one.view, now)
    one.probedAt = now
    if (seen?.state === 'running') one.seenAt = asked
    one.view = { ...one.view, seen, probe }
    this.#judge(one, now)
  }

  /** A provider that is slow to answer is asked again when it has. */
  async #askProvider(provider: string, list: Watched[]): Promise<void> {
    if (this.#asked.has(provider)) return
    this.#asked.add(provider)
    const ids = list.map(({ view }) => view.id)
    const asked = this.#world.clock.now()
    const seen = await observeMany(this.#world, provider, ids)
    this.#asked.delete(provider)
    const now = this.#world.clock.now()
    for (const one of list) {
      one.view.seen = seen.get(one.view.id) ?? null
      // Nothing follows from running on.
      if (one.view.seen?.state !== 'running') this.#judge(one, now)
      else one.seenAt = asked
    }
  }

  async #probe(one: Watched): Promise<void> {
    if (one.view.seen?.state !== 'running') return
    const ask = () => askEngine(this.#world, one.view.id, one.view.seen, this.#engineOf(one))
    let probe = await ask()
    // One answer that came too late may be our own doing; it costs the replica its requests only when it is not alone.
    if (probe?.state !== 'ready') probe = await ask()
    const now = this.#world.clock.now()
    one.view.probe = probe
    one.probedAt = now
    one.dueAt = now + this.#probeEveryMs()
    if (probe?.state !== 'ready') this.#judge(one, now)
  }

  #engineOf(one: Watched) {
    return one.engine && this.#world.engines.get(one.engine)
  }

  /** Asks for a turn if one would change the row. */
  #judge(one: Watched, now: number): void {
    const current = (isCalm(one.view) ? this.#calm : this.#hot).get(one.view.id)
    if (this.#over || one.told || current !== one || !callsForTurn(one.view, now, this.#world.settings)) return
    one.told = true
    this.#changed.add(one)
    void this.#tellChanged()
  }

  #tellChanged(): Promise<void> {
    this.#telling ??= this.#tellAll().finally(() => (this.#telling = null))
    return this.#telling
  }

  async #tellAll(): Promise<void> {
    try {
      while (this.#changed.size > 0) {
        const batch = [...this.#changed]
        await this.#tell([...new Set(batch.map(({ deploymentId }) => deploymentId))])
        for (const one of batch) this.#changed.delete(one)
      }
    } catch (error) {
      this.#world.log.warn({ error: (error as Error).message }, 'turns could not be asked for')
      await this.#world.clock.sleep(errorPauseMs)
    }
  }

  /** Never so rarely that a silence could outlast its limit unseen. */
  #probeEveryMs(): number {
    const { unresponsiveMs } = this.#world.settings
    const usual = Math.min(probeEveryMs, unresponsiveMs / 6)
    return Math.min(unresponsiveMs / 2, Math.max(usual, (this.#calm.size * 1000) / probesPerSecond))
  }
}

/** A turn would change the row, or ask the provider to clear away what has ended. */
export function callsForTurn(view: ReplicaView, now: number, settings: PlanSettings): boolean {
  if (view.phase === 'deleting' && view.seen?.state === 'exited') return true
  if (view.phase === 'starting' && wantsAgain(view)) return true
  return advance(view, now, settings).patch !== null
}

/** Also when the clock was set back. */
function isDue({ dueAt }: Watched, now: number, longestMs: number): boolean {
  return dueAt <= now || dueAt > now + 2 * longestMs
}

function pauseMs(view: ReplicaView, now: number): number {
  const since = view.phase === 'starting' ? view.createdAt : (view.endedAt ?? view.unhealthySince ?? now)
  return Math.min(hotLongestMs, Math.max(hotFirstMs, (now - since) * hotShare))
}
