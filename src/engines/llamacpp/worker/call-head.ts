/** How a call begins, up to its arguments. Pure. */
import type { ToolForm } from './tool-form.ts'

/** What is known of the beginning of a call. `length`: up to the brace that opens its arguments. */
export type CallHead = { is: 'call'; name: string; length: number } | { is: 'open' } | { is: 'text' }

const open: CallHead = { is: 'open' }
const text: CallHead = { is: 'text' }
/** Members that a call may begin with. */
const firstMembers = ['"name"', '"type"', '"id"', '"function"', '"arguments"', '"parameters"']

/**
 * `call`: it is one, its arguments follow. `open`: it may become one, or is one that is written another way and must be
 * read as a whole. `text`: it never will.
 */
export function readHead(said: string, member: ToolForm['member'], names: ReadonlySet<string>): CallHead {
  const whole = headPattern(member).exec(said)
  if (whole !== null) return names.has(whole[1]!) ? { is: 'call', name: whole[1]!, length: whole[0].length } : text
  const inside = /^\s*\{\s*/.exec(said)
  if (inside === null) return /^\s*$/.test(said) ? open : text
  const first = said.slice(inside[0].length)
  if (!firstMembers.some((name) => first.startsWith(name) || name.startsWith(first))) return text
  const named = /^"name"\s*:\s*"([^"\\]*)("?)/.exec(first)
  if (named === null) return open
  const [, name = '', end] = named
  if (end !== '') return names.has(name) ? open : text
  return [...names].some((one) => one.startsWith(name)) ? open : text
}

const patterns = {
  arguments: headOf('arguments'),
  parameters: headOf('parameters'),
}

function headPattern(member: ToolForm['member']): RegExp {
  return patterns[member]
}

function headOf(member: string): RegExp {
  return new RegExp(
    `^\\s*\\{\\s*(?:"type"\\s*:\\s*"function"\\s*,\\s*)?"name"\\s*:\\s*"([^"\\\\]*)"\\s*,\\s*"${member}"\\s*:\\s*(?=\\{)`,
  )
}
