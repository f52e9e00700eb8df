/**
 * Reads a command line as Python's argparse does, whose looseness our allow-list is there for: a name may be short for
 * another as long as it is so for one only, and what is not known ends the program with status 2.
 */

/** Name → how many values follow; `list`: all until the next name. */
export type Flags = Readonly<Record<string, 'none' | 'one' | 'list'>>

export interface Read {
  flags: ReadonlyMap<string, string[]>
  positional: string[]
}

export function readFlags(
  program: string,
  argv: readonly string[],
  known: Flags,
  spell: (name: string) => string,
): Read {
  const flags = new Map<string, string[]>()
  const positional: string[] = []
  for (let at = 0; at < argv.length; at += 1) {
    const word = argv[at]!
    if (!word.startsWith('--')) {
      positional.push(word)
      continue
    }
    const [written = '', ...held] = word.split('=')
    const name = nameOf(program, spell(written), known)
    const values = held.length > 0 ? [held.join('=')] : []
    const takes = known[name]!
    while (values.length < (takes === 'none' ? 0 : takes === 'one' ? 1 : Number.POSITIVE_INFINITY)) {
      const next = argv[at + 1]
      if (next === undefined || next.startsWith('--')) break
      values.push(next)
      at += 1
    }
    if (takes === 'one' && values.length === 0) refuse(program, `argument ${name}: expected one argument`)
    flags.set(name, values)
  }
  return { flags, positional }
}

function nameOf(program: string, written: string, known: Flags): string {
  if (Object.hasOwn(known, written)) return written
  const meant = Object.keys(known).filter((name) => name.startsWith(written))
  if (meant.length > 1) refuse(program, `ambiguous option: ${written} could match ${meant.join(', ')}`)
  return meant[0] ?? refuse(program, `unrecognized arguments: ${written}`)
}

export function refuse(program: string, why: string): never {
  process.stderr.write(`usage: ${program} [options]\n${program}: error: ${why}\n`)
  process.exit(2)
}
