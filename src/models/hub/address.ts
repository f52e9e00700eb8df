/**
 * Where the Hub may send us. The Hub's own address is the operator's choice. What it redirects to is nobody's here: it
 * never gets a token, it is never less safe than the Hub itself, and it is no machine of ours unless the Hub is one. Pure.
 */
import { BlockList, isIP } from 'node:net'

/** `never`: of this machine's link, among them the clouds' metadata services; and what is no address of one machine. */
export type AddressKind = 'public' | 'private' | 'never'

const never = new BlockList()
for (const [network, bits] of [
  ['0.0.0.0', 8],
  ['169.254.0.0', 16],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const)
  never.addSubnet(network, bits, 'ipv4')
for (const [network, bits] of [
  ['fe80::', 10],
  ['ff00::', 8],
  ['fd00:ec2::', 32],
] as const)
  never.addSubnet(network, bits, 'ipv6')
never.addAddress('::', 'ipv6')

const own = new BlockList()
for (const [network, bits] of [
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
] as const)
  own.addSubnet(network, bits, 'ipv4')
own.addAddress('::1', 'ipv6')
own.addSubnet('fc00::', 7, 'ipv6')
// These hold an IPv4 address that somebody on the way unpacks.
own.addSubnet('64:ff9b::', 96, 'ipv6')
own.addSubnet('2002::', 16, 'ipv6')

export function kindOfAddress(address: string): AddressKind {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address
  const family = isIP(mapped) === 4 ? 'ipv4' : 'ipv6'
  if (isIP(mapped) === 0 || never.check(mapped, family)) return 'never'
  return own.check(mapped, family) ? 'private' : 'public'
}

/** The address that a URL's host is already; null = it is a name. */
export function literalOf({ hostname }: URL): string | null {
  const bare = hostname.replace(/^\[(.*)\]$/, '$1')
  return isIP(bare) === 0 ? null : bare
}

/** Why a redirect from one URL to another is not followed; null = it is. `hub`: the operator's address. */
export function refusedRedirect(from: URL, to: URL, hub: URL): string | null {
  if (to.protocol !== 'https:' && to.protocol !== 'http:') return `${to.protocol} is no web address`
  if (to.protocol === 'http:' && (hub.protocol === 'https:' || from.protocol === 'https:'))
    return 'it leads from https to http'
  if (to.username !== '' || to.password !== '') return 'it holds a password'
  return null
}
