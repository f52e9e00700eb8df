/**
 * `npm test [-- [path…] [--name PATTERN] [--strict] [--long]]`: the checks, then every test file in its own process. One line a
 * file, failures in full, the skipped tests with their reasons, and as the very last line the count. Status 1 when
 * anything failed or nothing ran. With paths or --name the checks are left out. With --long files run their long form.
 *
 * A whole run gives a few files that failed a second try, alone, at the end: tests with real processes can suffer from
 * what else the machine does. Those that pass then are listed by name, so that they are looked into. Not with --strict.
 */
import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { checks, runCheck } from './checks.ts'
import { SharedDatabase } from './test-database.ts'
import { type FileResult, runTestFile } from './test-file.ts'
import { findTestFiles, type Group, groupFiles } from './test-plan.ts'
import { fileLine, Tally } from './test-report.ts'

const stillRunningEverySeconds = 30
/** From so many files on a Postgres for all of them is worth its start. */
const sharingFilesMinimum = 8
/** More than so many failures are no accident. */
const secondTriesMaximum = 3
/** What files with a long form read; each may be set to something else (test/README.md). */
const longForm = { FULL: '1', KILLS: '1000', OUTAGE_SECONDS: '600' }
const root = resolve(import.meta.dirname, '..')
const interruption = new AbortController()
const running = new Map<string, number>()
const tally = new Tally()

function wishes() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { name: { type: 'string' }, strict: { type: 'boolean' }, long: { type: 'boolean' } },
    })
  } catch (error) {
    console.error(`${(error as Error).message}\nUsage: npm test -- [path…] [--name PATTERN] [--strict] [--long]`)
    process.exit(2)
  }
}

type Run = (file: string, database?: SharedDatabase) => Promise<FileResult>

async function runFiles(files: string[], jobs: number, run: Run, take = (one: FileResult) => tally.add(one)) {
  const queue = [...files]
  const lane = async () => {
    for (let file = queue.shift(); file !== undefined && !interruption.signal.aborted; file = queue.shift()) {
      running.set(file, performance.now())
      const result = await run(file)
      running.delete(file)
      take(result)
      console.log(fileLine(result))
    }
  }
  await Promise.all(Array.from({ length: jobs }, lane))
}

async function runGroup(group: Group, run: Run, take: (one: FileResult) => void): Promise<void> {
  console.log(`${group.name} (${group.files.length} files)`)
  const began = performance.now()
  const shares = group.sharesDatabase && group.files.length >= sharingFilesMinimum
  const database = shares ? await SharedDatabase.start().catch(notShared) : undefined
  try {
    await runFiles(group.files, group.jobs, (file) => run(file, database), take)
  } finally {
    await database?.stop()
  }
  console.log(`${group.name}: ${((performance.now() - began) / 1000).toFixed(0)} s`)
}

/** Each file then starts its own, and those that need it say what is wrong. */
function notShared(error: Error): undefined {
  console.log(`  No database for all files: ${error.message}`)
}

async function runChecks(): Promise<void> {
  const all = checks(root)
  await runFiles(
    all.map(({ name }) => name),
    all.length,
    async (name) => {
      const done = await runCheck(root, all.find((check) => check.name === name)!, interruption.signal)
      const failures = done.ok ? [] : [{ name, why: done.output.trim() }]
      return { file: name, passed: done.ok ? 1 : 0, failures, skipped: [], seconds: done.seconds, output: '' }
    },
  )
}

/** Counts them as failed, or as what their second try says. */
async function settleFailed(failed: FileResult[], secondTry: boolean, run: Run): Promise<void> {
  const again = secondTry && !interruption.signal.aborted && failed.length <= secondTriesMaximum
  if (!again) {
    for (const result of failed) tally.add(result)
    return
  }
  if (failed.length > 0) console.log(`again (${failed.length} files)`)
  for (const first of failed) {
    await runFiles([first.file], 1, run, (second) => {
      if (second.failures.length === 0) tally.passedLater(first)
      tally.add(second)
    })
  }
}

async function main(): Promise<void> {
  const { values, positionals } = wishes()
  if (values.long) for (const [name, value] of Object.entries(longForm)) process.env[name] ??= value
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => interruption.abort())
  const whole = positionals.length === 0 && values.name === undefined
  const files = findTestFiles(root, positionals, process.env.INIT_CWD ?? process.cwd())
  const watch = setInterval(sayWhatStillRuns, stillRunningEverySeconds * 1000)
  if (whole) {
    console.log('checks')
    await runChecks()
  }
  const run: Run = (file, database) =>
    runTestFile({ root, file, namePattern: values.name, database }, interruption.signal)
  const failed: FileResult[] = []
  const take = (result: FileResult) => void (result.failures.length > 0 ? failed.push(result) : tally.add(result))
  if (files.length === 0) console.log(`There is no test file at or under ${positionals.join(', ') || '.'}.`)
  for (const group of groupFiles(files, availableParallelism())) {
    if (interruption.signal.aborted) break
    await runGroup(group, run, take)
  }
  await settleFailed(failed, whole && values.strict !== true, run)
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
