/** What hardware is free, and who should look at it: read from the providers, the rows and the queue. */
import type { ComputeDriver, Offer } from '../compute/contract.ts'
import { comparableTo, type HardwareCatalogue } from '../models/hardware.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Database } from '../store/database.ts'
import { wakeMany } from '../store/leases.ts'
import type { Wanted } from './place.ts'
import { defaultReserveAfterMs, divide } from './queue.ts'
import { claimsBut, heldBy } from './queue-store.ts'
import type { PlanSettings, QueueInput } from './situation.ts'
import * as store from './store.ts'

/** What is free: the providers' word, less what rows already hold that the provider may not know yet. */
export async function freeOffers(world: {
  db: Database
  computes: ReadonlyMap<string, ComputeDriver>
}): Promise<Offer[]> {
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

interface QueueWorld {
  db: Database
  hardware: HardwareCatalogue
}

/** The queue as one deployment sees it; `id` null = it is not there yet. */
export async function readQueue(
  { db, hardware }: QueueWorld,
  deployment: { id: string | null; orgId: string; hardware: readonly Wanted[] },
): Promise<Omit<QueueInput, 'mine'>> {
  const gpus = Object.fromEntries(hardware.all().map((type) => [type.slug, type.gpusPerUnit]))
  const others = await claimsBut(db, deployment.id ?? '')
  const orgs = [...new Set([deployment.orgId, ...others.map(({ orgId }) => orgId)])]
  // Alone in the queue it does not matter what anybody holds.
  const held = others.length === 0 ? {} : await heldBy(db, orgs, gpus)
  const comparable = comparableTo(deployment.hardware, hardware).map(({ gpuType, gpuCount }) => {
    return { gpuType, gpuCount, region: null }
  })
  return { others, held, gpus, comparable }
}

/** Wakes those who may take what is free now; everybody else goes on waiting. */
export async function wakeNext(
  world: QueueWorld & { computes: ReadonlyMap<string, ComputeDriver>; clock: Clock; settings: PlanSettings },
): Promise<void> {
  const { others, held } = await readQueue(world, { id: null, orgId: '', hardware: [] })
  if (others.length === 0) return
  const time = { now: world.clock.now(), reserveAfterMs: world.settings.reserveAfterMs ?? defaultReserveAfterMs }
  const { given } = divide(others, await freeOffers(world), held, time)
  if (given.size > 0) await wakeMany(world.db, 'deployments', [...given.keys()], time.now)
}
