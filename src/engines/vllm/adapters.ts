/**
 * LoRA adapters of vLLM: `/v1/load_lora_adapter` and its counterpart are there when VLLM_ALLOW_RUNTIME_LORA_UPDATING is
 * set (entrypoints/serve/lora/api_router.py, openai/models/serving.py; 0.18 to 0.33). A request names the adapter alone.
 * Unloading forgets the name; its copy in memory stays until another needs the place. Pure.
 */
import type { EngineAdapters } from '../contract.adapters.ts'
import { idsListed, messageOf, roomFor } from '../contract.peft.ts'

/** `MaxLoRARanks` of config/lora.py. */
const ranks = [8, 16, 32, 64, 128, 256, 320, 512]

export const vllmAdapters: EngineAdapters = {
  format: 'peft',
  mixes: false,
  room: (now, adapters) => roomFor(ranks, now, adapters),
  load: ({ engineName, path }) => call('/v1/load_lora_adapter', { lora_name: engineName, lora_path: path }),
  unload: (engineName) => call('/v1/unload_lora_adapter', { lora_name: engineName }),
  outcome(_what, status, body) {
    if (status === 200) return { done: true }
    if (status === null) return { done: false, why: 'The engine did not answer.', again: true }
    const message = messageOf(body)
    // Asked twice.
    if (/lora adapter '.*' (has already been loaded|cannot be found)/.test(message)) return { done: true }
    const why = message || `The engine answered with status ${status}.`
    return { done: false, why, again: status === 503 || status === 429 }
  },
  list: { method: 'GET', path: '/v1/models', body: null },
  listed: idsListed,
  ask: ([share], servedName) => ({ model: share?.handle ?? servedName, members: {} }),
}

function call(path: string, body: Record<string, unknown>) {
  return { method: 'POST' as const, path, body }
}
