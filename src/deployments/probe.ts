/**
 * Asks an engine whether it is ready, or to do something. Connection refused, a timeout or half an answer are
 * `status: null`.
 */
import { Agent, type Dispatcher, request } from 'undici'
import type { EngineCall } from '../engines/contract.adapters.ts'

const probeTimeoutMs = 2_000
const bodyCharsMaximum = 64 * 1024
/** Shorter than engines keep idle connections, so that none is used which is being closed. */
const idleConnectionMs = 4_000

/** Probes are the most frequent thing that control does: `dispatch` takes a third of the time of other clients. */
const agent = new Agent({
  connections: 1,
  connect: { timeout: probeTimeoutMs },
  headersTimeout: probeTimeoutMs,
  bodyTimeout: probeTimeoutMs,
  keepAliveTimeout: idleConnectionMs,
  keepAliveMaxTimeout: idleConnectionMs,
})

/** What takes its time: loading reads a whole adapter from the disk. */
const callTimeoutMs = 120_000
const patient = new Agent({
  connections: 1,
  connect: { timeout: probeTimeoutMs },
  headersTimeout: callTimeoutMs,
  bodyTimeout: callTimeoutMs,
  keepAliveTimeout: 1,
})

export interface ProbeAnswer {
  status: number | null
  body: string
}

export function probeEngine(address: string, port: number, path: string, key: string): Promise<ProbeAnswer> {
  const host = address.includes(':') ? `[${address}]` : address
  const request: Dispatcher.DispatchOptions = {
    origin: `http://${host}:${port}`,
    path,
    method: 'GET',
    headers: { authorization: `Bearer ${key}` },
  }
  return new Promise((answered) => {
    const text = new TextDecoder()
    let status: number | null = null
    let body = ''
    agent.dispatch(request, {
      onRequestStart: () => {},
      onResponseStart: (_controller, code) => {
        status = code
      },
      onResponseData: (_controller, chunk) => {
        if (body.length < bodyCharsMaximum) body += text.decode(chunk, { stream: true })
      },
      onResponseEnd: () => answered({ status, body }),
      onResponseError: () => answered({ status: null, body: '' }),
    })
  })
}

export async function callEngine(
  { address, port }: { address: string; port: number },
  key: string,
  { method, path, body }: EngineCall,
): Promise<ProbeAnswer> {
  const host = address.includes(':') ? `[${address}]` : address
  try {
    const answer = await request(`http://${host}:${port}${path}`, {
      dispatcher: patient,
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: body === null ? null : JSON.stringify(body),
    })
    return { status: answer.statusCode, body: (await answer.body.text()).slice(0, bodyCharsMaximum) }
  } catch {
    return { status: null, body: '' }
  }
}
