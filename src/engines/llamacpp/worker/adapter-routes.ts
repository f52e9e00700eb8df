/**
 * The worker's own routes for adapters, spoken by its driver alone: GET /adapters, POST /adapters {name, path},
 * DELETE /adapters/NAME. Loading answers when the first request can be computed.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Fault } from '../../../kernel/fault.ts'
import { readJson, send } from '../../contract.body.ts'
import type { Adapters } from './adapters.ts'

export const adaptersPath = '/adapters'

export function isAdapterRoute(path: string): boolean {
  return path === adaptersPath || path.startsWith(`${adaptersPath}/`)
}

/** Throws Fault. */
export async function answerAdapterRoute(
  adapters: Adapters,
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const name = path.slice(adaptersPath.length + 1)
  if (request.method === 'POST' && name === '') await load(adapters, await readJson(request))
  else if (request.method === 'DELETE' && name !== '') await adapters.unload(name)
  else if (request.method !== 'GET') throw new Fault('method_not_allowed', 'GET, POST {name, path}, DELETE /NAME.')
  send(response, 200, { adapters: adapters.names })
}

async function load(adapters: Adapters, body: unknown): Promise<void> {
  const { name, path } = (body ?? {}) as { name?: unknown; path?: unknown }
  if (typeof name !== 'string' || !/^[\w.-]{1,100}$/.test(name) || typeof path !== 'string')
    throw new Fault('invalid_request', 'An adapter needs a name and a path.')
  try {
    await adapters.load(name, path)
  } catch (error) {
    if (error instanceof Fault) throw error
    // llama.cpp's own words name the file.
    const { message } = error as Error
    const why = message.includes('LoRA') ? 'llama.cpp refuses it' : message
    throw new Fault('model_file_unreadable', `The adapter cannot be loaded: ${why}.`, { cause: error })
  }
}
