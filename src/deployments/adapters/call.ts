/** Tells an engine to do something about an adapter. No answer in time is `status: null`. */
import type { EngineCall } from '../../engines/contract.adapters.ts'
import type { Clock } from '../../runtime/clock.ts'

/** Loading reads the whole adapter from the disk. */
const timeoutMs = 120_000
const bodyCharsMaximum = 256 * 1024

export async function callEngine(
  clock: Clock,
  { address, port }: { address: string; port: number },
  key: string,
  { method, path, body }: EngineCall,
): Promise<{ status: number | null; body: string }> {
  const host = address.includes(':') ? `[${address}]` : address
  const late = new AbortController()
  const over = new AbortController()
  void clock.sleep(timeoutMs, over.signal).then(() => late.abort())
  try {
    const answer = await fetch(`http://${host}:${port}${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: body === null ? null : JSON.stringify(body),
      signal: late.signal,
    })
    return { status: answer.status, body: (await answer.text()).slice(0, bodyCharsMaximum) }
  } catch {
    return { status: null, body: '' }
  } finally {
    over.abort()
  }
}
