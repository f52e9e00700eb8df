/** Reads the configuration once, from flags, environment and file; reports every problem together with its fix. */
import { readFileSync } from 'node:fs'
import { parse as parseYaml } from 'yaml'
import { type Config, type SettingName, settings } from './settings.ts'

export class ConfigError extends Error {
  readonly problems: string[]
  constructor(problems: string[]) {
    super(problems.join('\n'))
    this.name = 'ConfigError'
    this.problems = problems
  }
}

type Values = Partial<Record<SettingName, unknown>>

/** The environment variable of a setting. */
export function environmentName(name: SettingName): string {
  return `PADDOCK_${name.replaceAll('.', '_').toUpperCase()}`
}

/** Flags win over environment, environment over file, file over defaults. Throws ConfigError with all problems. */
export function readConfig(input: { flags: Values; env: NodeJS.ProcessEnv; file: string | undefined }): Config {
  const problems: string[] = []
  const fromFile = input.file ? readFile(input.file, problems) : {}
  const config: Record<string, unknown> = {}
  for (const name of Object.keys(settings) as SettingName[]) {
    const [value, origin] = pickValue(name, input.flags, input.env, fromFile, input.file)
    if (value === undefined) {
      config[name] = settings[name].default
      continue
    }
    const parsed = settings[name].schema.safeParse(value)
    if (parsed.success) config[name] = parsed.data
    else
      problems.push(
        `${origin}: ${problemText(parsed.error.issues[0])} (seen: ${shown(name, value)}). ${settings[name].about}`,
      )
  }
  if (problems.length > 0) throw new ConfigError(problems)
  return Object.freeze(config) as Config
}

/** What hosts and other programs set, without our prefix. */
const usualNames: Partial<Record<SettingName, string>> = { database_url: 'DATABASE_URL', 'hub.endpoint': 'HF_ENDPOINT' }

function pickValue(
  name: SettingName,
  flags: Values,
  env: NodeJS.ProcessEnv,
  file: Values,
  path?: string,
): [unknown, string] {
  if (flags[name] !== undefined) return [flags[name], `--${name.replaceAll('_', '-')}`]
  const variable = environmentName(name)
  const other = usualNames[name]
  const fromEnv = env[variable] ?? (other === undefined ? undefined : env[other])
  if (fromEnv !== undefined && fromEnv !== '') return [fromEnv, variable]
  return [file[name], `${path}: ${name}`]
}

/** YAML, and JSON, which is YAML too. Throws what the file system or the parser says. */
export function readDocument(path: string): unknown {
  return parseYaml(readFileSync(path, 'utf8'))
}

function readFile(path: string, problems: string[]): Values {
  let document: unknown
  try {
    document = readDocument(path)
  } catch (error) {
    problems.push(`${path}: cannot be read as YAML or JSON: ${(error as Error).message.split('\n')[0]}`)
    return {}
  }
  if (document === null || document === undefined) return {}
  if (typeof document !== 'object' || Array.isArray(document)) {
    problems.push(`${path}: must hold settings as "name: value".`)
    return {}
  }
  const flat: Record<string, unknown> = {}
  flatten(document as Record<string, unknown>, '', flat)
  for (const name of Object.keys(flat))
    if (!(name in settings)) problems.push(`${path}: there is no setting "${name}". Remove it, or correct its name.`)
  return flat as Values
}

/** Nested maps become dotted names, down to the first name that is a setting. */
function flatten(map: Record<string, unknown>, prefix: string, into: Record<string, unknown>): void {
  for (const [key, value] of Object.entries(map)) {
    const name = prefix + key
    const isMap = value !== null && typeof value === 'object' && !Array.isArray(value)
    if (isMap && !(name in settings)) flatten(value as Record<string, unknown>, `${name}.`, into)
    else into[name] = value
  }
}

const secretNames = new Set<SettingName>(['database_url', 'secret_key', 'operator_key'])
function shown(name: SettingName, value: unknown): string {
  return secretNames.has(name) ? '***' : JSON.stringify(value)
}

function problemText(issue: { message: string } | undefined): string {
  return issue?.message ?? 'not valid'
}
