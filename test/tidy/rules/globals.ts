/** Time, randomness, environment and network have their doors in `runtime/`; nobody else goes around them. */
import type { FileFacts } from '../syntax.ts'
import { isProduct, type Violation } from '../tree.ts'

/** What is banned → what to use instead. */
const instead: Readonly<Record<string, string>> = {
  'Date.now': 'take a Clock (runtime/clock.ts), decisions take `now`',
  'new Date()': 'take a Clock (runtime/clock.ts), decisions take `now`',
  'performance.now': 'take a Clock and its monotonicMs (runtime/clock.ts)',
  'process.hrtime': 'take a Clock and its monotonicMs (runtime/clock.ts)',
  setTimeout: 'take a Clock and its sleep, or a deadline of runtime/',
  setInterval: 'take a Clock and its sleep in a loop',
  'AbortSignal.timeout': 'take a deadline of runtime/',
  'Math.random': 'use runtime/ids.ts',
  'crypto.randomUUID': 'use runtime/ids.ts',
  'crypto.getRandomValues': 'use runtime/ids.ts',
  'crypto.randomBytes': 'use runtime/ids.ts',
  'process.env': 'use runtime/environment.ts and the settings',
  fetch: 'use undici where it is allowed: its timeouts and connection pool are set, those of fetch are not',
}

/** Modules that are the same things by another name. */
const modules: Readonly<Record<string, string>> = {
  'node:timers': instead.setTimeout!,
  'node:timers/promises': instead.setTimeout!,
  'node:perf_hooks': instead['performance.now']!,
  'node:process': instead['process.env']!,
}

const randomNames = new Set(['randomBytes', 'randomUUID', 'randomInt', 'getRandomValues', 'webcrypto', 'default'])

/** `path` or a folder ending in `/` → what it may use and why. */
export interface GlobalException {
  path: string
  what: string[]
  why: string
}

export function globalsRule(facts: ReadonlyMap<string, FileFacts>, exceptions: GlobalException[]): Violation[] {
  const used = new Set<string>()
  const excused = (path: string, what: string) => {
    const exception = exceptions.find((one) => covers(one.path, path) && one.what.includes(what))
    if (exception) used.add(`${exception.path} ${what}`)
    return exception !== undefined
  }
  const found = [...facts]
    .filter(([path]) => isProduct(path) && !path.startsWith('src/runtime/'))
    .flatMap(([path, file]) => banned(file).map((one) => ({ path, ...one })))
    .filter(({ path, what }) => !excused(path, what))
    .map(({ path, line, what, better }) => ({
      rule: 'globals',
      path,
      line,
      message: `${what} is for runtime/ only: ${better}`,
    }))
  return [...found, ...unused(exceptions, used)]
}

function banned(file: FileFacts): { what: string; line: number; better: string }[] {
  const uses = file.uses
    .filter(({ what }) => Object.hasOwn(instead, what) || what.endsWith('[…]'))
    .map(({ what, line }) => ({ what, line, better: instead[what] ?? 'name the member' }))
  const imports = file.imports.flatMap(({ specifier, names, line, typeOnly }) => {
    if (typeOnly) return []
    if (Object.hasOwn(modules, specifier)) return [{ what: specifier, line, better: modules[specifier]! }]
    if (!/^(node:)?crypto$/.test(specifier)) return []
    return names
      .filter((name) => randomNames.has(name))
      .map((name) => ({ what: name, line, better: 'use runtime/ids.ts' }))
  })
  return [...uses, ...imports]
}

function covers(place: string, path: string): boolean {
  return place.endsWith('/') ? path.startsWith(place) : path === place
}

/** The list of exceptions may only shrink: one that nothing needs any more must go. */
function unused(exceptions: GlobalException[], used: Set<string>): Violation[] {
  return exceptions.flatMap(({ path, what }) =>
    what
      .filter((one) => !used.has(`${path} ${one}`))
      .map((one) => ({
        rule: 'globals',
        path,
        line: 0,
        message: `no longer uses ${one}: take it off the list of exceptions`,
      })),
  )
}
