/**
 * `npm run bench` lists the benches; `npm run bench -- <name> [--json] [--quick] [--only PART,…] [--traces DIR]` runs one. The status is
 * 0 also when a target was missed: a bench measures, tests judge. 2 = there is no such bench, or no such part of it.
 */
import { globSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Bench, type BenchOptions, type Figure, figureOf, figureTable } from './report.ts'

export type { Bench, Figure, Measured } from './report.ts'

/** Every bench in `folder`, by name: each file there that exports one. Throws when one is half a bench. */
export async function findBenches(folder: string): Promise<Bench[]> {
  const files = globSync('*.ts', { cwd: folder }).filter((file) => file !== 'run.ts' && !file.endsWith('.test.ts'))
  const found = await Promise.all(files.map((file) => load(join(folder, file))))
  return found.filter((bench) => bench !== null).sort((a, b) => (a.name < b.name ? -1 : 1))
}

async function load(path: string): Promise<Bench | null> {
  const { bench } = (await import(path)) as { bench?: Partial<Bench> }
  if (bench === undefined) return null
  if (typeof bench.name !== 'string' || typeof bench.about !== 'string' || typeof bench.run !== 'function')
    throw new Error(`${path} is not a bench: it needs name, about and run`)
  return bench as Bench
}

/** Runs one bench; never throws for what the bench does. */
export async function runBench(bench: Bench, options: Partial<BenchOptions> = {}): Promise<Figure[]> {
  const figures: Figure[] = []
  try {
    await bench.run((measured) => figures.push(figureOf(measured)), {
      quick: false,
      only: [],
      traces: null,
      show: () => {},
      ...options,
    })
    if (figures.length > 0) return figures
    return [figureOf({ name: bench.name, value: null, unit: '', why: 'the bench reported nothing' })]
  } catch (error) {
    return [...figures, figureOf({ name: bench.name, value: null, unit: '', why: (error as Error).message })]
  }
}

/** The command. Returns the exit status. */
export async function main(argv: string[], folder: string, print: (text: string) => void): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      json: { type: 'boolean' },
      quick: { type: 'boolean' },
      only: { type: 'string' },
      traces: { type: 'string' },
    },
  })
  const benches = await findBenches(folder)
  const [wanted] = positionals
  if (wanted === undefined) {
    print(list(benches, values.json ?? false))
    return 0
  }
  const bench = benches.find(({ name }) => name === wanted)
  if (!bench) {
    print(`There is no bench "${wanted}".\n${list(benches, false)}`)
    return 2
  }
  const only = values.only?.split(',') ?? []
  const strange = only.find((part) => !bench.parts?.includes(part))
  if (strange !== undefined) {
    print(`The bench ${bench.name} has no part "${strange}"; it has ${bench.parts?.join(', ') || 'none'}.`)
    return 2
  }
  let below = ''
  const show = (text: string) => (below += `\n\n${text}`)
  const options = { quick: values.quick ?? false, only, traces: values.traces ?? null, show }
  const figures = await runBench(bench, options)
  print(
    values.json
      ? JSON.stringify({ bench: bench.name, figures }, null, 2)
      : `${bench.about}\n\n${figureTable(figures)}${below}`,
  )
  return 0
}

function list(benches: Bench[], json: boolean): string {
  if (json) return JSON.stringify(benches.map(({ name, about }) => ({ name, about })))
  const width = Math.max(0, ...benches.map(({ name }) => name.length))
  const lines = benches.map(({ name, about }) => `  ${name.padEnd(width)}  ${about}`)
  return [
    `Benches (npm run bench -- <name> [--json] [--quick] [--only PART,…] [--traces DIR]):`,
    ...(lines.length > 0 ? lines : ['  none yet']),
  ].join('\n')
}

// Set as the program by the bootstrap too, which imports this file instead of starting another process.
if (process.argv[1] === import.meta.filename) {
  try {
    process.exitCode = await main(process.argv.slice(2), import.meta.dirname, (text) => console.log(text))
  } catch (error) {
    console.error((error as Error).message)
    process.exitCode = 2
  }
}
