/**
 * LoRA adapters of the embedded engine. llama.cpp applies adapters to a whole context, so each combination of them (a
 * set) has a context of its own beside the model's, with its own sequences and steps. Contexts take memory: there are at
 * most `setsMaximum`. Every adapter keeps the set of itself alone; mixtures share what is left, and one that nobody uses
 * gives way to another. The base model is never asked in an adapter's place.
 */
import { Fault } from '../../../kernel/fault.ts'
import type { Decoder } from './generate.ts'
import type { NativeLora } from './native.ts'

export interface Share {
  name: string
  /** 1 = as it was trained. */
  scale: number
}

/** A context with adapters on it. */
export interface AdaptedDecoder extends Decoder {
  dispose(): Promise<void>
}

export interface AdapterMakers {
  loadLora(path: string): Promise<NativeLora>
  makeDecoder(loras: readonly NativeLora[], scales: readonly number[]): Promise<AdaptedDecoder>
}

interface AdapterSet {
  key: string
  names: string[]
  decoder: AdaptedDecoder
  users: number
  /** It goes when its last user does. */
  leaving: boolean
}

export class Adapters {
  readonly #makers: AdapterMakers
  readonly #setsMaximum: number
  readonly #loras = new Map<string, NativeLora>()
  /** The one used longest ago comes first. */
  readonly #sets = new Map<string, AdapterSet>()
  /** Sets that are used to their end after their adapter was unloaded. */
  readonly #leaving = new Set<AdapterSet>()
  /** Contexts are made and given up one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(makers: AdapterMakers, setsMaximum: number) {
    this.#makers = makers
    this.#setsMaximum = setsMaximum
  }

  get names(): string[] {
    return [...this.#loras.keys()]
  }

  get decoders(): Decoder[] {
    return [...this.#sets.values(), ...this.#leaving].map(({ decoder }) => decoder)
  }

  /** Nothing happens when it is loaded already. Throws Fault `engine_unsupported` or Error with llama.cpp's reason. */
  load(name: string, path: string): Promise<void> {
    return this.#alone(async () => {
      if (this.#loras.has(name)) return
      await this.#makeRoom(`The adapter ${name} has no place`)
      const lora = await this.#makers.loadLora(path)
      this.#loras.set(name, lora)
      try {
        await this.#make([{ name, scale: 1 }])
      } catch (error) {
        this.#loras.delete(name)
        await lora.dispose()
        throw error
      }
    })
  }

  /** New requests for it are refused at once; those under way go on to their end. */
  unload(name: string): Promise<void> {
    const lora = this.#loras.get(name)
    this.#loras.delete(name)
    return this.#alone(async () => {
      for (const set of this.#sets.values()) if (set.names.includes(name)) await this.#retire(set)
      // The weights stay as long as a context still computes with them.
      if (lora && ![...this.#leaving].some(({ names }) => names.includes(name))) await lora.dispose()
    })
  }

  /** Whoever borrows one gives it back. Throws Faults `unavailable` (not loaded) and `engine_unsupported` (no room). */
  async lend(shares: readonly Share[]): Promise<{ decoder: Decoder; giveBack(): void }> {
    const known = this.#known(shares)
    const set = known ? this.#use(known) : await this.#alone(async () => this.#use(await this.#knownOrMade(shares)))
    return { decoder: set.decoder, giveBack: () => this.#giveBack(set) }
  }

  /** In the same turn in which it was found, so that it does not go in between. */
  #use(set: AdapterSet): AdapterSet {
    set.users += 1
    this.#sets.delete(set.key)
    this.#sets.set(set.key, set)
    return set
  }

  #giveBack(set: AdapterSet): void {
    set.users -= 1
    if (set.users > 0 || !set.leaving) return
    this.#leaving.delete(set)
    void this.#alone(() => set.decoder.dispose())
  }

  #known(shares: readonly Share[]): AdapterSet | undefined {
    for (const { name } of shares)
      if (!this.#loras.has(name))
        throw new Fault('unavailable', `The adapter ${name} is not loaded here.`, { retryAfterSeconds: 1 })
    return this.#sets.get(keyOf(shares))
  }

  async #knownOrMade(shares: readonly Share[]): Promise<AdapterSet> {
    const known = this.#known(shares)
    if (known !== undefined) return known
    await this.#makeRoom('This mixture of adapters has no place')
    return this.#make(shares)
  }

  async #make(shares: readonly Share[]): Promise<AdapterSet> {
    const loras = shares.map(({ name }) => this.#loras.get(name)!)
    const decoder = await this.#makers.makeDecoder(
      loras,
      shares.map(({ scale }) => scale),
    )
    const set = { key: keyOf(shares), names: shares.map(({ name }) => name), decoder, users: 0, leaving: false }
    this.#sets.set(set.key, set)
    return set
  }

  async #makeRoom(what: string): Promise<void> {
    if (this.#sets.size + this.#leaving.size < this.#setsMaximum) return
    for (const set of this.#sets.values()) {
      if (set.users > 0 || isAlone(set)) continue
      await this.#retire(set)
      return
    }
    throw new Fault(
      'engine_unsupported',
      `${what}: this engine computes with at most ${this.#setsMaximum} adapters and mixtures of adapters at once, and all are in use.`,
    )
  }

  async #retire(set: AdapterSet): Promise<void> {
    this.#sets.delete(set.key)
    set.leaving = true
    if (set.users > 0) this.#leaving.add(set)
    else await set.decoder.dispose()
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work)
    this.#last = result.catch(() => {})
    return result
  }
}

/** An adapter by itself, as it was trained. */
function isAlone({ key, names }: AdapterSet): boolean {
  return names.length === 1 && key === keyOf([{ name: names[0]!, scale: 1 }])
}

function keyOf(shares: readonly Share[]): string {
  return shares.map(({ name, scale }) => `${name}@${scale}`).join('+')
}
