/** Chance that can be replayed: the same seed and the same words give the same number, in any order of asking. Pure. */

/** 32 bits of `text`, well mixed (FNV-1a, then a finisher, so that near texts are far apart). */
export function mixed(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** 0 ≤ number < 1. */
export function roll(seed: number, ...words: (string | number)[]): number {
  return mixed(`${seed}/${words.join('/')}`) / 2 ** 32
}
