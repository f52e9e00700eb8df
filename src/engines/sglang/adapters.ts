/**
 * LoRA adapters of SGLang, when it was started with `--enable-lora` (srt/entrypoints/http_server.py,
 * srt/managers/tokenizer_control_mixin.py, srt/lora/; 0.5.9 to 0.5.23). A request names the model and, after a colon,
 * the adapter. Pure.
 */
import type { EngineAdapters } from '../contract.adapters.ts'
import { idsListed, messageOf, roomFor } from '../contract.peft.ts'

/** Any will do; steps, so that not every adapter makes the room larger. */
const ranks = [8, 16, 32, 64, 128, 256, 512]
const askedTwice = /because it is already loaded|LoRA with name .+ (already exists|does not exist)/

export const sglangAdapters: EngineAdapters = {
  format: 'peft',
  mixes: false,
  room: (now, adapters) => roomFor(ranks, now, adapters),
  load: ({ engineName, path }) => call('/load_lora_adapter', { lora_name: engineName, lora_path: path }),
  unload: (engineName) => call('/unload_lora_adapter', { lora_name: engineName }),
  outcome(_what, status, body) {
    if (status === 200) return { done: true }
    if (status === null) return { done: false, why: 'The engine did not answer.', again: true }
    const message = messageOf(body)
    if (askedTwice.test(message)) return { done: true }
    const why = message || `The engine answered with status ${status}.`
    // It forgets one only when its last request is over.
    return { done: false, why, again: status === 503 || /incomplete unload/.test(message) }
  },
  list: { method: 'GET', path: '/v1/models', body: null },
  listed: idsListed,
  ask: ([share], servedName) => ({
    model: share === undefined ? servedName : `${servedName}:${share.handle}`,
    members: {},
  }),
}

function call(path: string, body: Record<string, unknown>) {
  return { method: 'POST' as const, path, body }
}
