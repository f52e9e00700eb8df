/** The troubles that are under way: which of them strikes now. The dice fall the same way for the same seed and calls. */
import { roll } from '../../kernel/dice.ts'
import type { Placement } from '../contract.ts'
import type { Trouble } from './script.ts'

/** Those that last, as opposed to those of one moment. */
export type LastingTrouble = Exclude<Trouble, { what: 'crash' | 'hang' | 'vanish' | 'phantom' }>

export interface KnownTrouble {
  id: string
  spec: Trouble
  /** ms since epoch */
  from: number
  /** null = for ever. */
  to: number | null
  /** How often it struck. */
  struck: number
  /** From the script, as opposed to added since. */
  scripted: boolean
}

export class Troubles {
  readonly #seed: number
  readonly #known: KnownTrouble[] = []
  #added = 0
  #asked = 0

  constructor(seed: number) {
    this.#seed = seed
  }

  /**
   * The script's troubles, with their times from `now`; after a new start of the same simulation they go on where they
   * were, and so does what was added since.
   */
  begin(scripted: readonly Trouble[], kept: readonly KnownTrouble[], now: number): void {
    const before = kept.filter((known) => known.scripted)
    const same = JSON.stringify(before.map(({ spec }) => spec)) === JSON.stringify(scripted)
    this.#known.push(...kept.filter((known) => same || !known.scripted))
    this.#added = kept.length
    if (!same) for (const spec of scripted) this.add(spec, now, true)
  }

  /** `now`: what its times count from. */
  add(spec: Trouble, now: number, scripted = false): KnownTrouble {
    const from = now + spec.from * 1000
    const to = 'for' in spec && spec.for !== undefined ? from + spec.for * 1000 : null
    const known = { id: `trouble_${(this.#added += 1)}`, spec, from, to, struck: 0, scripted }
    this.#known.push(known)
    return known
  }

  /** It is over; false when there was none of this id. */
  end(id: string, now: number): boolean {
    const known = this.#known.find((one) => one.id === id)
    if (known === undefined) return false
    known.to = Math.min(known.to ?? now, now)
    return true
  }

  list(): KnownTrouble[] {
    return this.#known
  }

  /** The first of this kind that is under way here. It does not count as a strike. */
  underWay<W extends LastingTrouble['what']>(
    what: W,
    now: number,
    here: Pick<Placement, 'gpuType' | 'region'> | null = null,
  ): (KnownTrouble & { spec: Extract<Trouble, { what: W }> }) | null {
    for (const known of this.#known) {
      const { spec, from, to } = known
      if (spec.what !== what || now < from || (to !== null && now >= to)) continue
      if (here === null || isHere(spec, here)) return known as KnownTrouble & { spec: Extract<Trouble, { what: W }> }
    }
    return null
  }

  /** Throws the dice for everything of this kind that is under way: the first that strikes, or null. */
  strike<W extends LastingTrouble['what']>(
    what: W,
    now: number,
    suits: (spec: Extract<Trouble, { what: W }>) => boolean = () => true,
  ): Extract<Trouble, { what: W }> | null {
    if (this.#known.length === 0) return null
    this.#asked += 1
    for (const known of this.#known) {
      const { spec, from, to, struck } = known
      if (spec.what !== what || now < from || (to !== null && now >= to)) continue
      const mine = spec as Extract<Trouble, { what: W }>
      const { chance = 1, times = Number.POSITIVE_INFINITY } = spec as { chance?: number; times?: number }
      if (struck >= times || !suits(mine) || roll(this.#seed, known.id, this.#asked) >= chance) continue
      known.struck += 1
      return mine
    }
    return null
  }
}

export function isHere(
  spec: { gpu_type?: string | undefined; region?: string | undefined } | Trouble,
  here: Pick<Placement, 'gpuType' | 'region'>,
): boolean {
  const { gpu_type, region } = spec as { gpu_type?: string; region?: string }
  return (gpu_type === undefined || gpu_type === here.gpuType) && (region === undefined || region === here.region)
}
