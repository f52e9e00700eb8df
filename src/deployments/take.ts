/** What a deployment may take of what is free now, in its turn among all that wait, and what it goes on waiting for. Pure. */
import type { Offer, Placement } from '../compute/contract.ts'
import type { MicroUsd } from '../kernel/money.ts'
import { place } from './place.ts'
import { affordable } from './prices.ts'
import {
  type Claim,
  defaultReserveAfterMs,
  divide,
  isRefused,
  oneOf,
  type QueueTime,
  served,
  standing,
} from './queue.ts'
import type { QueueInput, Situation } from './situation.ts'
import { insteadOf, isHopeless, type Waiting } from './waiting.ts'

/**
 * What keeps wanted replicas from being started: none is free, another would cost more than the ceiling, or a roll needs a
 * spare place because nobody would answer meanwhile.
 */
export type Lack = 'hardware' | 'ceiling' | 'spare' | null

export interface Taking {
  placements: Placement[]
  /** Of each placement: what it waited with for it, in case that it is not there after all. */
  claims: Claim[]
  /** How many it looked for: fewer than wanted where the ceiling is near. */
  sought: number
  lack: Lack
  /** null = it waits for nothing. */
  waiting: Waiting | null
  /** Others for whom something is free. */
  nudge: string[]
}

export interface Want {
  /** Replicas to start, at least one. */
  count: number
  /** Replicas that have hardware. */
  has: number
  /** Replicas that answer no more and are to be replaced. */
  silent: number
  /** What an hour of those that stay costs. */
  spent: MicroUsd
  /** One beyond the wanted number: it takes what nobody waits for, and does not wait itself. */
  surplus: boolean
}

const alone: QueueInput = { others: [], held: {}, mine: null, gpus: {}, comparable: [] }

export function take(situation: Situation, want: Want): Taking {
  const { input, target } = situation
  const queue = input.queue ?? alone
  const { hardware, count } = affordable(target!.hardware, target!.ceiling ?? null, want.spent, want.count)
  if (hardware.length === 0) return { placements: [], claims: [], sought: 0, lack: 'ceiling', waiting: null, nudge: [] }
  const time = { now: input.now, reserveAfterMs: input.settings.reserveAfterMs ?? defaultReserveAfterMs }
  const before: Claim = {
    id: input.deployment.id,
    orgId: input.deployment.orgId ?? '',
    hardware: hardware.map(({ gpuType, gpuCount, region }) => {
      return { gpuType, gpuCount, region, gpus: (queue.gpus[gpuType] ?? 0) * gpuCount }
    }),
    missing: count,
    has: want.has,
    lost: Math.min(count, Math.max((queue.mine?.lost ?? 0) + situation.died, want.silent)),
    since: queue.mine?.since ?? input.now,
    refused: (queue.mine?.refused ?? []).filter(({ until }) => until > input.now),
  }
  return want.surplus ? leftOver(before, queue, input.offers, time) : inTurn(before, queue, input.offers, time)
}

function inTurn(before: Claim, queue: QueueInput, offers: readonly Offer[], time: QueueTime): Taking {
  const { given } = divide([...queue.others, before], offers, queue.held, time)
  const placements = given.get(before.id) ?? []
  const claims: Claim[] = []
  let after = before
  for (const _placement of placements) {
    claims.push(oneOf(after))
    after = served(after, time.now)
  }
  const nudge = [...given.keys()].filter((id) => id !== before.id)
  if (after.missing === 0)
    return { placements, claims, sought: before.missing, lack: null, waiting: remember(after), nudge }
  const waiting: Waiting = {
    ...after,
    ...standing(after, queue.others, queue.held, time),
    instead: insteadOf(queue.comparable, offers),
    hopeless: isHopeless(after, offers),
  }
  return { placements, claims, sought: before.missing, lack: 'hardware', waiting, nudge }
}

function leftOver(claim: Claim, queue: QueueInput, offers: readonly Offer[], time: QueueTime): Taking {
  const { left } = divide(queue.others, offers, queue.held, time)
  const usable = left.filter((offer) => !isRefused(claim, offer, time.now))
  const placements = place(claim.hardware, usable, claim.missing)
  const lack = placements.length < claim.missing ? 'hardware' : null
  return { placements, claims: [], sought: claim.missing, lack, waiting: remember({ ...claim, missing: 0 }), nudge: [] }
}

/** It waits for nothing, but may be refused what it takes: then it must know where it was refused before. */
function remember(claim: Claim): Waiting | null {
  if (claim.refused.length === 0) return null
  return { ...claim, missing: 0, position: 0, of: 0, instead: [], hopeless: false }
}
