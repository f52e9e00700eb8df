/**
 * Which versions of the operator's engines this machine has. Each program on the PATH is asked once, in the background of a
 * start, and again when its file has changed; only a launch waits for it, as engines in Python take seconds to say it.
 * What they said is kept in a file beside that of the program it was said of. What does not say it within bounds is
 * launched as the oldest that is known, and what is older than that is not launched at all.
 */
import { execFile } from 'node:child_process'
import { statSync } from 'node:fs'
import { promisify } from 'node:util'
import { readJsonIfThere, writeFileAtomic } from '../runtime/files.ts'
import type { Log } from '../runtime/log.ts'
import { childEnv, findProgram } from '../runtime/processes.ts'
import type { EngineDriver, EngineSpec, EngineType } from './contract.ts'
import { compareVersions, type KnownVersions, type VersionProbe } from './contract.versions.ts'

export interface InstalledParts {
  /** Where what they said is kept. */
  file: string
  log: Log
  /** Ends what is being asked. */
  signal: AbortSignal
  /** Default: 30 s. */
  timeoutMs?: number
}

const timeoutMsDefault = 30_000
const outputBytesMaximum = 1024 * 1024
/** They are not to ask anybody on the way. */
const quiet = { VLLM_NO_USAGE_STATS: '1', DO_NOT_TRACK: '1', HF_HUB_OFFLINE: '1' }

/** The same drivers, those from the PATH as the version that is there. They begin to be asked. */
export function installedEngines(
  engines: ReadonlyMap<EngineType, EngineDriver>,
  parts: InstalledParts,
): Map<EngineType, EngineDriver> {
  return new Map([...engines].map(([type, driver]) => [type, asInstalled(driver, parts)]))
}

function asInstalled(driver: EngineDriver, parts: InstalledParts): EngineDriver {
  const { versionProbe: probe, program } = driver
  if (probe === undefined || program === null) return driver
  const installed = new Installed(program, probe, parts)
  void installed.ask()
  return probe.known === null ? driver : withVersion(driver, installed, probe.engine, probe.known)
}

function withVersion(driver: EngineDriver, installed: Installed, engine: string, known: KnownVersions): EngineDriver {
  /** What its arguments are written for: of one newer than all that are known the newest. */
  const written = (asked: string | undefined): string | undefined => {
    const { version } = installed
    if (version === undefined) return asked
    if (version === null) return asked ?? known.oldest
    return compareVersions(version, known.newest) > 0 ? known.newest : version
  }
  const obstacle = (): string | null => {
    const { version } = installed
    if (!version || compareVersions(version, known.oldest) >= 0) return null
    return `${engine} ${version} is what this server has; it is known from ${known.oldest} on, and nothing is launched with an older one.`
  }
  const asWritten = (spec: EngineSpec): EngineSpec => {
    const version = written(spec.version)
    return version === undefined ? spec : { ...spec, version }
  }
  return {
    ...driver,
    obstacle,
    known: () => installed.ask(),
    validate: (spec, model) => {
      const { version } = installed
      if (spec.version === undefined) return driver.validate(asWritten(spec), model)
      if (!version || compareVersions(version, spec.version) === 0) return driver.validate(spec, model)
      const problems = driver.validate({ ...spec, version: undefined }, model)
      return [`engine.version: this server has ${engine} ${version}, not ${spec.version}; leave it out.`, ...problems]
    },
    tune: driver.tune && ((tuning, ground) => driver.tune!(tuning, { ...ground, version: written(ground.version) })),
    launch: (input) => driver.launch({ ...input, spec: asWritten(input.spec) }),
  }
}

/** One program on the PATH. */
class Installed {
  readonly #program: string
  readonly #probe: VersionProbe
  readonly #parts: InstalledParts
  #stamp: string | null = null
  #asking: Promise<void> = Promise.resolve()
  /** null = it does not say; undefined = it has not been asked. */
  version: string | null | undefined

  constructor(program: string, probe: VersionProbe, parts: InstalledParts) {
    this.#program = program
    this.#probe = probe
    this.#parts = parts
  }

  /** Resolves when the version is known, or known not to be. Never throws. */
  ask(): Promise<void> {
    const path = findProgram(this.#program)
    const stamp = path === null ? null : stampOf(path)
    if (path === null || stamp === null || stamp === this.#stamp) return this.#asking
    this.#stamp = stamp
    this.#asking = this.#askAt(path, stamp)
    return this.#asking
  }

  async #askAt(path: string, stamp: string): Promise<void> {
    const { log, file } = this.#parts
    const { engine } = this.#probe
    const kept = keptIn(file)[this.#program]
    const said = kept?.stamp === stamp ? kept.version : await this.#run(path)
    if (this.#stamp !== stamp) return
    this.version = said
    if (said === null) return
    log.info({ engine, version: said }, 'an engine is on the PATH')
    if (kept?.stamp === stamp) return
    writeFileAtomic(file, JSON.stringify({ ...keptIn(file), [this.#program]: { stamp, version: said } }))
  }

  async #run(path: string): Promise<string | null> {
    const { signal, log, timeoutMs = timeoutMsDefault } = this.#parts
    const { engine, args, pattern } = this.#probe
    const told = { engine, args: args.join(' ') }
    const bounds = { timeout: timeoutMs, killSignal: 'SIGKILL' as const, maxBuffer: outputBytesMaximum }
    try {
      const { stdout, stderr } = await promisify(execFile)(path, [...args], { ...bounds, env: childEnv(quiet), signal })
      const lines = `${stderr}\n${stdout}`.split('\n')
      const version = lines.map((line) => pattern.exec(line)?.[1]).findLast((found) => found !== undefined)
      if (version === undefined)
        log.warn(told, 'an engine does not say its version: taken for the oldest that is known')
      return version ?? null
    } catch (error) {
      const why = (error as Error).message.split('\n')[0]
      if (!signal.aborted)
        log.warn({ ...told, why }, 'an engine did not say its version: taken for the oldest that is known')
      return null
    }
  }
}

/** Another file under the same name has another; null = it is gone. */
function stampOf(path: string): string | null {
  try {
    const { mtimeMs, size, ino } = statSync(path)
    return `${path} ${mtimeMs} ${size} ${ino}`
  } catch {
    return null
  }
}

/** Anything that is not as we wrote it is nothing. */
function keptIn(file: string): Record<string, { stamp: string; version: string } | undefined> {
  const kept = readJsonIfThere<Record<string, { stamp: string; version: string }>>(file)
  return typeof kept === 'object' && kept !== null ? kept : {}
}
