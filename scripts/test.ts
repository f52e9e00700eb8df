/**
 * `npm test [-- [path…] [--name PATTERN]]`: the checks, then every test file in its own process. One line a file,
 * failures in full, the skipped tests with their reasons, and as the very last line the count. Status 1 when anything
 * failed or nothing ran. With paths or --name the checks are left out.
 */
import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { checks, runCheck } from './checks.ts'
import { type FileResult, runTestFile } from './test-file.ts'
import { findTestFiles, groupFiles } from './test-plan.ts'
import { fileLine, Tally } from './test-report.ts'

const stillRunningEverySeconds = 30
const root = resolve(import.meta.dirname, '..')
const interruption = new AbortController()
const running = new Map<string, number>()
const tally = new Tally()

function wishes() {
  try {
    return parseArgs({ allowPositionals: true, options: { name: { type: 'string' } } })
  } catch (error) {
    console.error(`${(error as Error).message}\nUsage: npm test -- [path…] [--name PATTERN]`)
    process.exit(2)
  }
}

async function runGroup(files: string[], jobs: number, run: (file: string) => Promise<FileResult>): Promise<void> {
  const queue = [...files]
  const lane = async () => {
    for (let file = queue.shift(); file !== undefined && !interruption.signal.aborted; file = queue.shift()) {
      running.set(file, performance.now())
      const result = await run(file)
      running.delete(file)
      tally.add(result)
      console.log(fileLine(result))
    }
  }
  await Promise.all(Array.from({ length: jobs }, lane))
}

async function runChecks(): Promise<void> {
  const all = checks(root)
  await runGroup(
    all.map(({ name }) => name),
    all.length,
    async (name) => {
      const done = await runCheck(root, all.find((check) => check.name === name)!, interruption.signal)
      const failures = done.ok ? [] : [{ name, why: done.output.trim() }]
      return { file: name, passed: done.ok ? 1 : 0, failures, skipped: [], seconds: done.seconds, output: '' }
    },
  )
}

async function main(): Promise<void> {
  const { values, positionals } = wishes()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => interruption.abort())
  const files = findTestFiles(root, positionals, process.env.INIT_CWD ?? process.cwd())
  const watch = setInterval(sayWhatStillRuns, stillRunningEverySeconds * 1000)
  if (positionals.length === 0 && values.name === undefined) {
    console.log('checks')
    await runChecks()
  }
  if (files.length === 0) console.log(`There is no test file at or under ${positionals.join(', ') || '.'}.`)
  for (const group of groupFiles(files, availableParallelism())) {
    if (interruption.signal.aborted) break
    console.log(`${group.name} (${group.files.length} files)`)
    await runGroup(group.files, group.jobs, (file) =>
      runTestFile({ root, file, namePattern: values.name }, interruption.signal),
    )
  }
  clearInterval(watch)
  process.stdout.write(tally.summary(interruption.signal.aborted))
  process.exitCode = tally.ok && files.length > 0 && !interruption.signal.aborted ? 0 : 1
}

function sayWhatStillRuns(): void {
  for (const [file, since] of running) {
    const seconds = (performance.now() - since) / 1000
    if (seconds > stillRunningEverySeconds) console.log(`  …     ${file}  ${seconds.toFixed(0)} s so far`)
  }
}

await main()
