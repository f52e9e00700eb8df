/** What hardware is free, who waits for it, and who should look at it: read from the providers, the rows and the queue. */
import type { ComputeDriver, Offer } from '../compute/contract.ts'
import { comparableTo, type HardwareCatalogue } from '../models/hardware.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Database } from '../store/database.ts'
import { wakeMany } from '../store/leases.ts'
import type { Wanted } from './place.ts'
import { type Claim, defaultReserveAfterMs, divide, type Held } from './queue.ts'
import { claims, heldByOrgs } from './queue-store.ts'
import type { PlanSettings, QueueInput } from './situation.ts'
import * as store from './store.ts'
import type { Waiting } from './waiting.ts'

interface Sources {
  db: Database
  computes: ReadonlyMap<string, ComputeDriver>
  hardware: HardwareCatalogue
}

/** What is free and who wants it: the same for everybody who looks at that moment. */
export interface Market {
  offers: Offer[]
  claims: Claim[]
  /** By organisation; empty where nobody waits, because then it does not matter. */
  held: Record<string, Held>
  /** GPUs of one unit, by hardware type. */
  gpus: Record<string, number>
}

export async function readMarket(world: Sources): Promise<Market> {
  const gpus = Object.fromEntries(world.hardware.all().map((type) => [type.slug, type.gpusPerUnit]))
  const [offers, waiting] = await Promise.all([freeOffers(world), claims(world.db)])
  const held = waiting.length === 0 ? {} : await heldByOrgs(world.db, gpus)
  return { offers, claims: waiting, held, gpus }
}

/** What is free: the providers' word, less what rows already hold that the provider may not know yet. */
export async function freeOffers(world: Pick<Sources, 'db' | 'computes'>): Promise<Offer[]> {
  const [held, ...perProvider] = await Promise.all([
    store.heldUnits(world.db),
    ...[...world.computes.values()].map((driver) => driver.offers().catch(() => [] as Offer[])),
  ])
  return perProvider.flat().map((offer) => {
    const ours = held.find(
      (h) => h.provider === offer.provider && h.gpuType === offer.gpuType && h.region === offer.region,
    )
    return { ...offer, freeUnits: Math.max(0, Math.min(offer.freeUnits, offer.totalUnits - (ours?.units ?? 0))) }
  })
}

/** The queue as one deployment sees it; `id` null = it is not there yet. */
export function queueFor(
  { claims, held, gpus }: Market,
  catalogue: HardwareCatalogue,
  of: { id: string | null; hardware: readonly Wanted[]; waiting: Waiting | null },
): QueueInput {
  const comparable = comparableTo(of.hardware, catalogue).map(({ gpuType, gpuCount }) => {
    return { gpuType, gpuCount, region: null }
  })
  return { others: claims.filter(({ id }) => id !== of.id), held, gpus, comparable, mine: of.waiting }
}

/** Wakes those who may take what is free now; everybody else goes on waiting. */
export async function wakeNext(
  world: Sources & { clock: Clock; settings: PlanSettings; due(at: number): void },
): Promise<void> {
  if ((await claims(world.db)).length === 0) return
  const market = await readMarket(world)
  const time = { now: world.clock.now(), reserveAfterMs: world.settings.reserveAfterMs ?? defaultReserveAfterMs }
  const { given } = divide(market.claims, market.offers, market.held, time)
  if (given.size === 0) return
  await world.db.tx((tx) => wakeMany(tx, 'deployments', [...given.keys()], time.now))
  world.due(time.now)
}
