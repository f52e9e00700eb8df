/**
 * What an engine says of LoRA adapters: what it must be told at its start, how one is loaded and unloaded while it
 * serves, and how a request asks for them. Pure, as all of a driver. An engine that takes none leaves this out.
 */
export type AdapterFormat = 'gguf' | 'peft'

/** An adapter as one replica's engine sees it. */
export interface EngineAdapter {
  /** Its name towards the engine. Never used again: new weights under the same name of ours have another. */
  engineName: string
  /** A file for gguf, a folder for peft; where this engine can read it. */
  path: string
  /** Of its matrices, the largest. */
  rank: number
}

/** What an engine sets aside at its start, as part of its spec; a change of it is a new revision. */
export interface AdapterRoom {
  /** The largest rank that it takes. */
  rankMaximum: number
  /** How many at once. */
  count: number
  /** Engine names of those that its launch names, where no others can be added later. */
  fixed?: string[]
}

export interface EngineCall {
  method: 'GET' | 'POST' | 'DELETE'
  path: string
  body: Record<string, unknown> | null
}

/** What came of a load or unload. `again`: it may work a little later. */
export type CallOutcome = { done: true } | { done: false; why: string; again: boolean }

/** A share of an adapter in one request. */
export interface AdapterShare {
  /** What the engine said of it when it was loaded, see `listed`. */
  handle: string
  /** 1 = as it was trained. */
  scale: number
}

export interface EngineAdapters {
  /** What it loads; whoever brings the other kind is told how to convert. */
  format: AdapterFormat
  /** Several in one request, each with a scale of its own. */
  mixes: boolean
  /** Each adapter, and each mixture, takes one of the contexts that `adapters.sets` allows. */
  takesContexts?: boolean
  /** The room that these need; null = none is set aside. What is there already and suffices is given back as it is. */
  room(now: AdapterRoom | null, adapters: readonly Pick<EngineAdapter, 'engineName' | 'rank'>[]): AdapterRoom | null
  /** null: its launch named it; there is nothing to call. */
  load(adapter: EngineAdapter): EngineCall | null
  unload(engineName: string): EngineCall | null
  /** `status` null = no answer came. */
  outcome(what: 'load' | 'unload', status: number | null, body: string): CallOutcome
  /** Which are loaded now. */
  list: EngineCall
  /** Engine name → the handle by which requests ask for it, of those given that are loaded; null = it did not say. */
  listed(adapters: readonly EngineAdapter[], status: number | null, body: string): ReadonlyMap<string, string> | null
  /** Members of the body of a request that is to have these. `servedName`: of the model itself. */
  ask(shares: readonly AdapterShare[], servedName: string): { model: string; members: Record<string, unknown> }
}
