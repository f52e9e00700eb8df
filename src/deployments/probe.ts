/** Asks an engine whether it is ready. Connection refused, a timeout or half an answer are `status: null`. */
import { Agent, get } from 'node:http'

const probeTimeoutMs = 2_000
const bodyBytesMaximum = 64 * 1024
const agent = new Agent({ keepAlive: true, maxSockets: 256, maxFreeSockets: 64, timeout: 30_000 })

export function probeEngine(
  address: string,
  port: number,
  path: string,
  key: string,
): Promise<{ status: number | null; body: string }> {
  return new Promise((resolve) => {
    const silent = () => resolve({ status: null, body: '' })
    const request = get(
      { host: address, port, path, agent, timeout: probeTimeoutMs, headers: { authorization: `Bearer ${key}` } },
      (response) => {
        let body = ''
        response.setEncoding('utf8')
        response.on('data', (text: string) => {
          if (body.length < bodyBytesMaximum) body += text
        })
        response.on('end', () => resolve({ status: response.statusCode ?? null, body }))
        response.on('error', silent)
        response.on('aborted', silent)
      },
    )
    request.on('timeout', () => request.destroy(new Error('no answer')))
    request.on('error', silent)
  })
}
