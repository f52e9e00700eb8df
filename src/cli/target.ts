/**
 * Which server, with which key. Flags win over the environment, the environment over defaults; a data folder named by
 * flag therefore also wins over a key in the environment, which may belong to another server.
 */
import { join, resolve } from 'node:path'
import { homeFolder } from '../runtime/environment.ts'
import { readIfThere } from '../runtime/files.ts'
import { exitStatus, Failure, usageFailure } from './failure.ts'

export interface TargetOptions {
  url?: string
  port?: string
  key?: string
  data?: string
  org?: string
}

export interface Target {
  /** Without a slash at its end. */
  url: string
  key: string
  org: string | undefined
}

export const defaultUrl = 'http://127.0.0.1:8080'

export function dataFolder(options: TargetOptions, env: NodeJS.ProcessEnv): string {
  return resolve(options.data ?? env.PADDOCK_DATA ?? join(homeFolder(), '.paddock'))
}

export function serverUrl(options: TargetOptions, env: NodeJS.ProcessEnv): string {
  if (options.url !== undefined && options.port !== undefined)
    throw usageFailure('--url and --port both name the server.', 'Give one of them.')
  if (options.port !== undefined) return `http://127.0.0.1:${checkedPort(options.port)}`
  const given = options.url ?? (env.PADDOCK_URL || undefined)
  if (given !== undefined) return checkedUrl(given, options.url !== undefined ? '--url' : 'PADDOCK_URL')
  return env.PADDOCK_PORT ? `http://127.0.0.1:${checkedPort(env.PADDOCK_PORT)}` : defaultUrl
}

export function checkedPort(text: string): number {
  const port = Number(text)
  if (/^\d{1,5}$/.test(text) && port >= 1 && port <= 65_535) return port
  throw usageFailure(`"${text}" is no port.`, 'Give a number from 1 to 65535.')
}

function checkedUrl(text: string, origin: string): string {
  try {
    const url = new URL(text.includes('://') ? text : `http://${text}`)
    if (url.protocol === 'http:' || url.protocol === 'https:') return url.href.replace(/\/+$/, '')
  } catch {
    // said below
  }
  throw usageFailure(`${origin} "${text}" is no address.`, `Give one such as ${defaultUrl}.`)
}

/** The API key and where it is from. Throws Failure (no access) when there is none. */
export function apiKey(options: TargetOptions, env: NodeJS.ProcessEnv): string {
  if (options.key !== undefined) return checkedKey(options.key, '--key')
  if (options.data === undefined && env.PADDOCK_API_KEY) return checkedKey(env.PADDOCK_API_KEY, 'PADDOCK_API_KEY')
  const path = join(dataFolder(options, env), 'operator-key')
  const kept = readKeyFile(path)
  if (kept !== null) return checkedKey(kept, path)
  throw new Failure(
    exitStatus.noAccess,
    'missing_key',
    `There is no API key: neither --key nor PADDOCK_API_KEY is given, and ${path} does not exist.`,
    'Give a key with --key, or the data folder of the server on this machine with --data.',
  )
}

function readKeyFile(path: string): string | null {
  try {
    return readIfThere(path)?.trim() || null
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOTDIR') return null
    const message = `The operator key in ${path} cannot be read (${code}).`
    throw new Failure(exitStatus.noAccess, 'missing_key', message, 'Give a key with --key or PADDOCK_API_KEY.')
  }
}

/** What cannot be sent in a header is refused here, with its origin and without showing it. */
function checkedKey(key: string, origin: string): string {
  if (/^[\x21-\x7E]+$/.test(key)) return key
  throw usageFailure(`The key in ${origin} holds characters that no key has.`, 'Copy it again, without spaces.')
}
