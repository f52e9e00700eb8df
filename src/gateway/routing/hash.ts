/** Fast hashes of 32 bits for tables of our own. Not for secrets: whoever wants to can find texts that meet. Pure. */

/** Each bit of the result depends on all of the value. */
export function mixed(value: number): number {
  let hash = value | 0
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

export function textHash(text: string, seed = 0x811c9dc5): number {
  let hash = seed
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return mixed(hash)
}

/** Of the bytes `from` to `to`, in steps of four: bytes behind the last whole step do not count. */
export function bytesHash(bytes: DataView, seed: number, from: number, to: number): number {
  let hash = seed
  for (let at = from; at + 4 <= to; at += 4) {
    hash = Math.imul(hash ^ bytes.getInt32(at, true), 0x9e3779b1)
    hash ^= hash >>> 15
  }
  return hash
}
