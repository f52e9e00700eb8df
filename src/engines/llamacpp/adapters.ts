/**
 * LoRA adapters of llama.cpp, which loads GGUF. Our worker loads and unloads them while it serves and knows them by name;
 * llama-server knows those of its launch line, by number, so that another set of them is another launch. Both mix. Pure.
 */
import type { AdapterRoom, CallOutcome, EngineAdapter, EngineAdapters } from '../contract.adapters.ts'

export const embeddedAdapters: EngineAdapters = {
  format: 'gguf',
  mixes: true,
  takesContexts: true,
  room: () => null,
  load: ({ engineName, path }) => ({ method: 'POST', path: '/adapters', body: { name: engineName, path } }),
  unload: (engineName) => ({ method: 'DELETE', path: `/adapters/${engineName}`, body: null }),
  outcome: (_what, status, body) => outcomeOf(status, body),
  list: { method: 'GET', path: '/adapters', body: null },
  listed(adapters, status, body) {
    const said = status === 200 ? (parsed(body) as { adapters?: unknown } | null)?.adapters : null
    if (!Array.isArray(said)) return null
    const here = adapters.filter(({ engineName }) => said.includes(engineName))
    return new Map(here.map(({ engineName }) => [engineName, engineName]))
  },
  ask: (shares, servedName) => ({
    model: servedName,
    members: { adapters: shares.map(({ handle, scale }) => ({ name: handle, scale })) },
  }),
}

export const serverAdapters: EngineAdapters = {
  format: 'gguf',
  mixes: true,
  room: serverRoom,
  load: () => null,
  unload: () => null,
  outcome: (_what, status, body) => outcomeOf(status, body),
  list: { method: 'GET', path: '/lora-adapters', body: null },
  listed(adapters, status, body) {
    const said = status === 200 ? parsed(body) : null
    if (!Array.isArray(said)) return null
    const ids = new Map(said.map((one: { id?: unknown; path?: unknown }) => [one?.path, one?.id]))
    return new Map(
      adapters.flatMap(({ engineName, path }): [string, string][] => {
        const id = ids.get(path)
        return typeof id === 'number' ? [[engineName, String(id)]] : []
      }),
    )
  },
  // What is not named has scale 0: without `lora` a request gets the base alone (--lora-init-without-apply).
  ask: (shares, servedName) => ({
    model: servedName,
    members: { lora: shares.map(({ handle, scale }) => ({ id: Number(handle), scale })) },
  }),
}

function serverRoom(
  now: AdapterRoom | null,
  adapters: readonly Pick<EngineAdapter, 'engineName' | 'rank'>[],
): AdapterRoom | null {
  const fixed = adapters.map(({ engineName }) => engineName).sort()
  if (fixed.length === 0) return null
  if (now?.fixed?.join() === fixed.join()) return now
  return { rankMaximum: Math.max(...adapters.map(({ rank }) => rank)), count: fixed.length, fixed }
}

function outcomeOf(status: number | null, body: string): CallOutcome {
  if (status === 200) return { done: true }
  if (status === null) return { done: false, why: 'The engine did not answer.', again: true }
  const { message } = (parsed(body) as { error?: { message?: string } } | null)?.error ?? {}
  return { done: false, why: message ?? `The engine answered ${status}.`, again: status >= 500 }
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return null
  }
}
