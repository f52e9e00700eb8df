/**
 * One of many texts as a part of a grammar, their beginnings shared: llama.cpp follows every alternative that still fits, at
 * every token, for every token of the vocabulary. Thousands side by side take minutes. Pure.
 */

/** Parentheses in each other, for llama.cpp recurses; texts of one schema hardly come so far. Deeper ones stand side by side. */
const depthMaximum = 800

/** `texts` in any order, at least one. */
export function eitherText(texts: readonly string[]): string {
  return branches([...new Set(texts)].sort(), 0)
}

/** A text as a GBNF literal. */
export function literal(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}

function branches(sorted: readonly string[], depth: number): string {
  if (depth >= depthMaximum) return sorted.map(literal).join(' | ')
  return grouped(sorted)
    .map((group) => branch(group, depth))
    .join(' | ')
}

function branch(group: readonly string[], depth: number): string {
  const [first = ''] = group
  if (group.length === 1) return literal(first)
  const shared = sharedStart(first, group.at(-1)!)
  const rests = group.map((text) => text.slice(shared.length))
  const inner = branches(rests[0] === '' ? rests.slice(1) : rests, depth + 1)
  return `${literal(shared)} ( ${inner} )${rests[0] === '' ? '?' : ''}`
}

/** By their first characters. */
function grouped(sorted: readonly string[]): string[][] {
  const groups: string[][] = []
  let start: number | undefined
  for (const text of sorted) {
    const next = text.codePointAt(0)
    if (groups.length === 0 || next !== start) groups.push([])
    groups.at(-1)!.push(text)
    start = next
  }
  return groups
}

/** Of sorted texts, all share what the first and the last do. Never half a character. */
function sharedStart(first: string, last: string): string {
  let length = 0
  while (length < first.length && first[length] === last[length]) length += 1
  const isHalf = length > 0 && /[\ud800-\udbff]/.test(first[length - 1]!)
  return first.slice(0, isHalf ? length - 1 : length)
}
