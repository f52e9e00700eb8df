/**
 * Additional arguments that a deployment may give its engine: an allow-list of exact names. Engines' parsers take a name
 * in many spellings (short for, underscores for hyphens, dots into JSON, `--name=value`), and of two the later counts; a
 * list that refuses names would have to know them all. Here one spelling passes, once, with a value of the right kind.
 * Pure.
 */
import { compareVersions } from './contract.versions.ts'

/** What must follow a name: nothing, one of some words, or what the function has no objection to. */
export type ArgumentValue = 'nothing' | readonly string[] | ArgumentCheck
/** An objection in half a sentence; null = none. */
export type ArgumentCheck = (value: string) => string | null

/** A number from `least` to `most`, which an engine would not start with otherwise. */
export function number(least: number, most: number): ArgumentCheck {
  return (value) => {
    const given = isNumber(value) ? Number(value) : Number.NaN
    return given >= least && given <= most ? null : `needs a number from ${least} to ${most}; seen: "${shown(value)}".`
  }
}

export function whole(least: number, most: number): ArgumentCheck {
  return (value) => {
    const given = /^-?\d{1,12}$/.test(value) ? Number(value) : Number.NaN
    return given >= least && given <= most
      ? null
      : `needs a whole number from ${least} to ${most}; seen: "${shown(value)}".`
  }
}

export interface ArgumentRule {
  value: ArgumentValue
  /** First version that has it, and first that has not. */
  since?: string
  until?: string
}

export interface ArgumentList {
  engine: string
  allowed: Readonly<Record<string, ArgumentRule>>
  /** Names that the deployment itself sets → the field that does; '' = none does, they are not for tenants. */
  own: Readonly<Record<string, string>>
}

const shownMaximumCharacters = 80

/** Problems in sentences; none = all may pass. */
export function argumentProblems(list: ArgumentList, given: readonly string[], version: string): string[] {
  const problems: string[] = []
  const seen = new Set<string>()
  for (let at = 0; at < given.length; at += 1) {
    const name = given[at]!
    const rule = Object.hasOwn(list.allowed, name) ? list.allowed[name]! : null
    if (rule === null) {
      problems.push(foreign(list, name))
      // What follows belongs to it, unless it is a name.
      if (given[at + 1] !== undefined && !given[at + 1]!.startsWith('-')) at += 1
      continue
    }
    const value = rule.value === 'nothing' ? null : (given[++at] ?? null)
    const problem = seen.has(name) ? 'is given twice.' : problemOf(list.engine, rule, value, version)
    if (problem !== null) problems.push(`engine.additional_args: ${name} ${problem}`)
    seen.add(name)
  }
  return problems
}

function problemOf(engine: string, rule: ArgumentRule, value: string | null, version: string): string | null {
  if (rule.since !== undefined && compareVersions(version, rule.since) < 0)
    return `came with ${engine} ${rule.since}; this is ${version}.`
  if (rule.until !== undefined && compareVersions(version, rule.until) >= 0)
    return `went with ${engine} ${rule.until}; this is ${version}.`
  if (rule.value === 'nothing') return null
  if (value === null || value.startsWith('--')) return 'needs a value after it.'
  if (typeof rule.value === 'function') return rule.value(value)
  return rule.value.includes(value) ? null : `must be one of ${rule.value.join(', ')}; seen: "${shown(value)}".`
}

function isNumber(text: string): boolean {
  return /^-?\d{1,12}(\.\d{1,6})?$/.test(text)
}

/** Why a name is not taken, and what was probably meant. */
function foreign(list: ArgumentList, given: string): string {
  const said = (why: string) => `engine.additional_args: "${shown(given)}" ${why}`
  if (!given.startsWith('--')) return said('is no argument: names begin with two hyphens, each value follows its name.')
  const [whole = ''] = given.split('=', 1)
  const name = whole.replaceAll('_', '-')
  const [root = ''] = name.split('.', 1)
  const own = meant(Object.keys(list.own), root)
  if (own !== null) {
    const field = list.own[own]!
    return said(field === '' ? 'is not for deployments to set.' : `is set by ${field}; leave it out here.`)
  }
  if (configNames.test(root)) return said('would read arguments from a file; write them here one by one.')
  const known = meant(Object.keys(list.allowed), root)
  if (known === null)
    return said(`is not allowed with ${list.engine}; allowed are ${Object.keys(list.allowed).join(', ')}.`)
  if (name.includes('.')) return said(`reaches into an object; give ${known} the whole of it as JSON.`)
  if (given.includes('=')) return said(`holds its value; write "${known}" and the value after it, as two.`)
  return said(`is not written so; write ${known}.`)
}

const configNames = /^--co?n?f?i?g?$/

/** The name that this one is, or is short for. */
function meant(names: readonly string[], given: string): string | null {
  if (names.includes(given)) return given
  return given.length > 3 ? (names.find((name) => name.startsWith(given)) ?? null) : null
}

function shown(text: string): string {
  return text.slice(0, shownMaximumCharacters)
}
