/** What a deployment that waits for hardware tells: where it stands, what it waits for, and what it could do instead. Pure. */
import type { Offer } from '../compute/contract.ts'
import type { Wanted } from './place.ts'
import { type Claim, suits } from './queue.ts'

/** As stored with the deployment: its claim, which others read, and what is shown of it. */
export interface Waiting extends Claim {
  /** Among those that want some of the same hardware; 1 is next. */
  position: number
  of: number
  /** Comparable hardware, that which is free now first. */
  instead: Instead[]
  /** No place has as much as one replica needs, however long it waits. */
  hopeless: boolean
}

export interface Instead extends Wanted {
  region: string
  freeUnits: number
  totalUnits: number
}

/** What is shown of comparable hardware, at most. */
const insteadMaximum = 4

/** Hardware that could stand in: in the order of `comparable`, free places first, one per type and region. */
export function insteadOf(comparable: readonly Wanted[], offers: readonly Offer[]): Instead[] {
  const places = comparable.flatMap((wanted) =>
    offers
      .filter((offer) => suits(wanted, offer) && offer.totalUnits >= wanted.gpuCount)
      .map(({ region, freeUnits, totalUnits }) => ({ ...wanted, region, freeUnits, totalUnits })),
  )
  const isFree = (one: Instead) => one.freeUnits >= one.gpuCount
  const free = places.filter(isFree)
  const busy = places.filter((one) => !isFree(one)).sort((a, b) => b.totalUnits - a.totalUnits)
  return [...free, ...busy].slice(0, insteadMaximum)
}

export function isHopeless(claim: Pick<Claim, 'hardware'>, offers: readonly Offer[]): boolean {
  return !claim.hardware.some((wanted) =>
    offers.some((offer) => suits(wanted, offer) && offer.totalUnits >= wanted.gpuCount),
  )
}

/** "Waiting for 1 × h100 in nyc2 or 2 × mi300x: place 2 of 5 …", with the seed's advice and what is known for it. */
export function waitingText(waiting: Waiting, replicas: number): string {
  const { hardware, position, of, instead, hopeless } = waiting
  const wanted = hardware.map(wantedText).join(' or ')
  const place = of === 1 ? 'it is the only one in the queue' : `place ${position} of ${of} in the queue`
  const state = hopeless ? 'no place has as much' : `none is free; ${place}`
  return `Waiting for ${wanted}: ${state}. ${adviceText(instead, replicas)}`
}

function adviceText(instead: readonly Instead[], replicas: number): string {
  const free = instead.filter((one) => one.freeUnits >= one.gpuCount)
  const named = (free.length > 0 ? free : instead).slice(0, 2).map(wantedText).join(' or ')
  const other =
    free.length > 0 ? [`${named} is comparable and free now`] : named === '' ? [] : [`${named} is comparable`]
  const fewer = replicas > 1 ? ['fewer replicas may start sooner'] : []
  const ways = [...other, ...fewer, 'it starts by itself as soon as something frees'].join('; ')
  return `${ways[0]!.toUpperCase()}${ways.slice(1)}.`
}

function wantedText({ gpuCount, gpuType, region }: Wanted): string {
  return `${gpuCount} × ${gpuType}${region === null ? '' : ` in ${region}`}`
}
