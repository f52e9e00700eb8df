/**
 * What a `model_id` that begins with `hf:` names: `hf:<owner>/<name>[/<quantisation or GGUF file>][@<revision>]`. The
 * choice follows a slash, since what follows a colon is an adapter. Pure.
 */
import { Fault } from '../../kernel/fault.ts'

export interface HubName {
  /** `<owner>/<name>` */
  repo: string
  /** A quantisation, or the path of a GGUF file; null = chosen by what can run here. */
  choice: string | null
  /** Branch, tag or commit. */
  revision: string
}

const prefix = 'hf:'
export const defaultRevision = 'main'
const partPattern = /^[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?$/
const revisionPattern = /^[\w.][\w./+=-]{0,254}$/
const choiceCharsMaximum = 500

export function isHubName(modelId: string): boolean {
  return modelId.startsWith(prefix)
}

/** Throws Fault `invalid_request` that says what is wrong with the name. `field`: where it stands in the request. */
export function parseHubName(modelId: string, field = 'model_id'): HubName {
  const wrong = (problem: string) => wrongName(field, problem)
  const [place = '', ...rest] = modelId.slice(prefix.length).split('@')
  if (rest.length > 1) throw wrong('has more than one @')
  const revision = rest[0] ?? defaultRevision
  const [owner = '', name = '', ...choice] = place.split('/')
  if (name === '') throw wrong('must name a repository as hf:<owner>/<name>')
  for (const part of [owner, name])
    if (!partPattern.test(part) || part.includes('--') || part.includes('..') || part.endsWith('.git'))
      throw wrong(`has ${JSON.stringify(part.slice(0, 100))} where the Hub allows letters, digits, "-", "_" and "."`)
  if (!revisionPattern.test(revision) || revision.includes('..') || revision.includes('//'))
    throw wrong(`has ${JSON.stringify(revision.slice(0, 100))} after the @, which is no branch, tag or commit`)
  return { repo: `${owner}/${name}`, choice: choiceOf(choice, field), revision }
}

function choiceOf(parts: readonly string[], field: string): string | null {
  if (parts.length === 0) return null
  const choice = parts.join('/')
  if (choice.length > choiceCharsMaximum || !isPlainPath(choice))
    throw wrongName(field, `has ${JSON.stringify(choice.slice(0, 100))} where a quantisation or a file is named`)
  return choice
}

/** A path that stays below the folder it is put in, whoever wrote it. */
export function isPlainPath(path: string): boolean {
  const parts = path.split('/')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what must not be in it
  return parts.every((part) => part !== '' && part !== '.' && part !== '..' && !/[\\\u0000-\u001f\u007f]/.test(part))
}

function wrongName(field: string, problem: string): Fault {
  return new Fault('invalid_request', `${field}: ${problem}.`, {
    action:
      'Name it as hf:<owner>/<name>, with /<quantisation> for one of several GGUF files and @<revision> if need be.',
    detail: { fields: [{ field, problem }] },
  })
}
