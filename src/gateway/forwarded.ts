/** Who really asks: the address and host of the client, believing only proxies that the operator trusts. */
import type { IncomingMessage } from 'node:http'
import { BlockList, isIP, isIPv6 } from 'node:net'

/** Ours alone between gateway and control; whatever a client sends under this name is dropped. */
export const forwardedHeader = 'x-paddock-forwarded'

export interface Forwarded {
  client: string
  proto: string
  host: string
}

export type WhoAsks = (request: IncomingMessage) => Forwarded

/** `trusted`: addresses or networks in CIDR form. Throws Error for one that is neither. */
export function makeWhoAsks(trusted: readonly string[]): WhoAsks {
  const proxies = new BlockList()
  for (const entry of trusted) addProxy(proxies, entry)
  const isTrusted = (address: string) => isIP(address) !== 0 && proxies.check(address, family(address))
  return (request) => {
    const peer = plainAddress(request.socket.remoteAddress ?? '')
    const direct = { client: peer, proto: 'http', host: request.headers.host ?? '' }
    if (trusted.length === 0 || !isTrusted(peer)) return direct
    const { 'x-forwarded-for': hops, 'x-forwarded-proto': proto, 'x-forwarded-host': host } = request.headers
    const chain = String(hops ?? '')
      .split(',')
      .map((hop) => plainAddress(hop.trim()))
      .filter((hop) => isIP(hop) !== 0)
    return {
      // From the right: the first hop that is not one of our proxies; what stands further left anyone could write.
      client: chain.findLast((hop) => !isTrusted(hop)) ?? chain[0] ?? peer,
      proto: proto === 'https' ? 'https' : direct.proto,
      host: typeof host === 'string' && host !== '' ? host : direct.host,
    }
  }
}

function addProxy(proxies: BlockList, entry: string): void {
  const [address, prefix] = entry.split('/') as [string, string | undefined]
  const bits = isIPv6(address) ? 128 : 32
  const length = prefix === undefined ? bits : Number(prefix)
  if (isIP(address) === 0 || !Number.isInteger(length) || length < 0 || length > bits || prefix === '')
    throw new Error(
      `gateway.trusted_proxies: ${JSON.stringify(entry)} is no address and no network such as 10.0.0.0/8.`,
    )
  proxies.addSubnet(address, length, family(address))
}

function family(address: string): 'ipv4' | 'ipv6' {
  return isIPv6(address) ? 'ipv6' : 'ipv4'
}

/** IPv4 that arrives on a socket of both families is written as IPv6. */
function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice(7) : address
}
