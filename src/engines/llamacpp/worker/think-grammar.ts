/** Thoughts as a part of a grammar: where the answer is held to one, what comes before it is free. Pure. */
import type { GrammarPart } from './json-grammar.ts'
import type { ThinkTags } from './thoughts.ts'

/** White space that may stand around. */
export const gap = '[ \\t\\n]{0,8}'

/** `inside`: they are open already, and must end; otherwise there may be some. */
export function thinkingPart({ open, close }: ThinkTags, inside: boolean): GrammarPart {
  const rules = untilRules('thought', close)
  const thoughts = `thought0 ${gap}`
  return { body: inside ? thoughts : `( ${gap} ${characters(open)} ${thoughts} )?`, rules }
}

/** Any text up to and including the first `mark`: a rule for each number of its characters that were just said. */
function untilRules(name: string, mark: string): Map<string, string> {
  const letters = [...new Set(mark)]
  const rules = new Map<string, string>([[`${name}${mark.length}`, '""']])
  for (let said = 0; said < mark.length; said += 1) {
    const onwards = letters.map((letter) => `[${code(letter)}] ${name}${nextCount(mark, said, letter)}`)
    rules.set(`${name}${said}`, [`[^${letters.map(code).join('')}] ${name}0`, ...onwards].join(' | '))
  }
  return rules
}

/** Of the mark's beginning, how many characters end what was said, once `letter` follows `said` of them. */
function nextCount(mark: string, said: number, letter: string): number {
  const text = mark.slice(0, said) + letter
  for (let count = Math.min(text.length, mark.length); count > 0; count -= 1)
    if (text.endsWith(mark.slice(0, count))) return count
  return 0
}

/** A text, each character by its code. */
export function characters(text: string): string {
  return [...text].map((letter) => `[${code(letter)}]`).join(' ')
}

function code(letter: string): string {
  return `\\x${letter.codePointAt(0)!.toString(16).toUpperCase().padStart(2, '0')}`
}
