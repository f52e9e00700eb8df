/** Tells an engine to do something about an adapter. No answer in time is `status: null`. */
import { Agent, request } from 'undici'
import type { EngineCall } from '../../engines/contract.adapters.ts'

/** Loading reads the whole adapter from the disk. */
const timeoutMs = 120_000
const bodyCharsMaximum = 256 * 1024

const agent = new Agent({ connections: 4, headersTimeout: timeoutMs, bodyTimeout: timeoutMs, keepAliveTimeout: 1_000 })

export async function callEngine(
  { address, port }: { address: string; port: number },
  key: string,
  { method, path, body }: EngineCall,
): Promise<{ status: number | null; body: string }> {
  const host = address.includes(':') ? `[${address}]` : address
  try {
    const answer = await request(`http://${host}:${port}${path}`, {
      dispatcher: agent,
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: body === null ? null : JSON.stringify(body),
    })
    const text = await answer.body.text()
    return { status: answer.statusCode, body: text.slice(0, bodyCharsMaximum) }
  } catch {
    return { status: null, body: '' }
  }
}
