/**
 * Who gets hardware that is free, when several want it. Pure, and the same for whoever computes it: every turn works out
 * the whole division, takes only its own part, and wakes those who may take theirs.
 *
 * Replicas are handed out one by one, each to whoever comes first then:
 *   1. whoever lost a replica that served;
 *   2. whoever has waited longer than `reserveAfterMs`, oldest first;
 *   3. whoever has no replica at all; then whose organisation holds fewer GPUs, fewer replicas; then who came first.
 * One that does not fit is passed over, so that nothing stands idle that suits somebody. Nobody is passed over for ever:
 * for 1 and 2 the place that lacks least is kept free until they fit. Who gets a replica begins to wait anew for the
 * next one.
 */
import type { Offer, Placement } from '../compute/contract.ts'
import { takeOne, type Wanted } from './place.ts'

/** Default of `capacity.reserve_after_minutes`. */
export const defaultReserveAfterMs = 600_000

/** Hardware that somebody waits for. */
export interface Claim {
  /** Of the deployment. */
  id: string
  orgId: string
  /** In order of preference; `gpus`: of one replica. */
  hardware: (Wanted & { gpus: number })[]
  /** Replicas that have no hardware. */
  missing: number
  /** Replicas that have. */
  has: number
  /** Of the missing: in the place of one that served and ended by itself. */
  lost: number
  /** Since when it waits for the next one, ms since epoch. */
  since: number
  /** Places whose provider said that there is nothing although it offered: not asked again before `until`. */
  refused: { provider: string; gpuType: string; region: string; until: number }[]
  /** Nobody can take a turn for it: it keeps its age, and nothing is kept for it. */
  stalled?: boolean
}

/** What an organisation holds. */
export interface Held {
  gpus: number
  replicas: number
}

export interface Division {
  /** Deployment id → what it may take now. */
  given: ReadonlyMap<string, Placement[]>
  /** What nobody takes and nothing is kept of. */
  left: Offer[]
  /** Deployment id → the place that is kept for it. */
  kept: ReadonlyMap<string, Offer>
}

export interface QueueTime {
  now: number
  reserveAfterMs: number
}

/** Divides what is free. `held`: by organisation; absent = nothing. */
export function divide(
  claims: readonly Claim[],
  offers: readonly Offer[],
  held: Readonly<Record<string, Held>>,
  time: QueueTime,
): Division {
  const left = offers.map((offer) => ({ ...offer }))
  const given = new Map<string, Placement[]>()
  const kept = new Map<string, Offer>()
  const holds = new Map(Object.entries(held))
  const open = new Map(claims.filter((claim) => claim.missing > 0 && !claim.stalled).map((claim) => [claim.id, claim]))
  while (open.size > 0 && left.some((offer) => offer.freeUnits > 0)) {
    const next = first(open.values(), holds, time)
    const usable = left.filter((offer) => !isRefused(next, offer, time.now))
    const placement = takeOne(next.hardware, usable)
    if (placement === null) {
      if (isUrgent(next, time)) keep(next, usable, kept)
      open.delete(next.id)
      continue
    }
    given.set(next.id, [...(given.get(next.id) ?? []), placement])
    count(holds, next, placement)
    if (next.missing === 1) open.delete(next.id)
    else open.set(next.id, served(next, time.now))
  }
  return { given, left, kept }
}

/** The claim with one replica more. */
export function served(claim: Claim, now: number): Claim {
  return {
    ...claim,
    missing: claim.missing - 1,
    has: claim.has + 1,
    lost: Math.max(0, claim.lost - 1),
    since: now,
  }
}

/** The part of the claim that its next replica takes with it. */
export function oneOf(claim: Claim): Claim {
  return { ...claim, missing: 1, lost: Math.min(1, claim.lost), refused: [] }
}

/** The claim with a replica less, because the place that it was given is not there: in line as it was. */
export function givenBack(claim: Claim, taken: Claim): Claim {
  return {
    ...claim,
    hardware: taken.hardware,
    missing: claim.missing + 1,
    has: Math.min(claim.has, taken.has),
    lost: claim.lost + taken.lost,
    since: Math.min(claim.since, taken.since),
  }
}

function first(claims: Iterable<Claim>, holds: ReadonlyMap<string, Held>, time: QueueTime): Claim {
  let best: Claim | undefined
  for (const claim of claims) if (best === undefined || compare(claim, best, holds, time) < 0) best = claim
  return best!
}

/** Below zero: `a` comes first. Ids decide last, so that everybody sees the same order. */
function compare(a: Claim, b: Claim, holds: ReadonlyMap<string, Held>, time: QueueTime): number {
  const rank = rankOf(a, time) - rankOf(b, time)
  if (rank !== 0) return rank
  const oldest = a.since - b.since || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)
  if (isUrgent(a, time)) return oldest
  const [ofA, ofB] = [holds.get(a.orgId) ?? nothing, holds.get(b.orgId) ?? nothing]
  return Number(a.has > 0) - Number(b.has > 0) || ofA.gpus - ofB.gpus || ofA.replicas - ofB.replicas || oldest
}

const nothing: Held = { gpus: 0, replicas: 0 }

function rankOf(claim: Claim, time: QueueTime): number {
  return claim.lost > 0 ? 0 : isOverdue(claim, time) ? 1 : 2
}

function isUrgent(claim: Claim, time: QueueTime): boolean {
  return claim.lost > 0 || isOverdue(claim, time)
}

function isOverdue(claim: Claim, { now, reserveAfterMs }: QueueTime): boolean {
  return now - claim.since >= reserveAfterMs
}

export function isRefused({ refused }: Pick<Claim, 'refused'>, offer: Offer, now: number): boolean {
  return refused.some(
    (one) =>
      one.until > now &&
      one.provider === offer.provider &&
      one.gpuType === offer.gpuType &&
      one.region === offer.region,
  )
}

/** Keeps the place that lacks least. It only fills up, or another one lacks less: so it fits in the end. */
function keep(claim: Claim, usable: Offer[], kept: Map<string, Offer>): void {
  let best: { offer: Offer; lacks: number } | undefined
  for (const wanted of claim.hardware)
    for (const offer of usable) {
      if (!suits(wanted, offer) || offer.totalUnits < wanted.gpuCount) continue
      const lacks = wanted.gpuCount - offer.freeUnits
      if (best === undefined || lacks < best.lacks) best = { offer, lacks }
    }
  if (best === undefined || best.offer.freeUnits === 0) return
  kept.set(claim.id, { ...best.offer })
  best.offer.freeUnits = 0
}

export function suits(wanted: Wanted, offer: Pick<Offer, 'gpuType' | 'region'>): boolean {
  return wanted.gpuType === offer.gpuType && (wanted.region === null || wanted.region === offer.region)
}

function count(holds: Map<string, Held>, claim: Claim, placement: Placement): void {
  const before = holds.get(claim.orgId) ?? nothing
  const choice = claim.hardware.find((one) => one.gpuCount === placement.gpuCount && suits(one, placement))
  holds.set(claim.orgId, { gpus: before.gpus + (choice?.gpus ?? 0), replicas: before.replicas + 1 })
}

/** Where a claim stands among all that want some of the same hardware: 1 of 1 is the only one. */
export function standing(
  claim: Claim,
  others: readonly Claim[],
  held: Readonly<Record<string, Held>>,
  time: QueueTime,
): { position: number; of: number } {
  const holds = new Map(Object.entries(held))
  const rivals = others.filter((other) => other.missing > 0 && !other.stalled && overlaps(other, claim))
  const before = rivals.filter((other) => compare(other, claim, holds, time) < 0)
  return { position: before.length + 1, of: rivals.length + 1 }
}

function overlaps(a: Claim, b: Claim): boolean {
  return a.hardware.some((one) =>
    b.hardware.some(
      (other) =>
        one.gpuType === other.gpuType && (one.region === null || other.region === null || one.region === other.region),
    ),
  )
}
