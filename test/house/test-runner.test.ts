/** The test command must not be fooled: each planted file goes wrong in its own way. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { SharedDatabase } from '../../scripts/test-database.ts'
import { type FileOptions, type FileResult, runTestFile } from '../../scripts/test-file.ts'
import { findTestFiles, groupFiles, longest } from '../../scripts/test-plan.ts'
import { fileLine, Tally } from '../../scripts/test-report.ts'
import { identify } from '../../src/runtime/processes.ts'
import { withDatabase } from '../../src/store/connection.ts'
import { testDatabase } from '../../src/store/testing.ts'

const root = mkdtempSync(join(tmpdir(), 'runner-'))
after(() => rmSync(root, { recursive: true, force: true }))
const head = "import { test } from 'node:test'\n"

function planted(name: string, text: string): string {
  mkdirSync(dirname(join(root, name)), { recursive: true })
  writeFileSync(join(root, name), text)
  return name
}

function run(text: string, options: Partial<FileOptions> = {}, signal?: AbortSignal): Promise<FileResult> {
  const file = planted(`planted-${Math.random().toString(36).slice(2)}.test.ts`, head + text)
  return runTestFile({ root, file, ...options }, signal)
}

function whys(result: FileResult): string {
  return result.failures.map(({ name, why }) => `${name}: ${why}`).join('\n')
}

test('passes, skips with reasons and nested names are counted once each', async () => {
  const result = await run(`
    test('fine', () => {})
    test('not here', { skip: 'needs a GPU' }, () => {})
    test('outer', async (t) => { await t.test('inner', () => {}) })`)
  assert.deepEqual([result.passed, whys(result)], [3, ''])
  assert.deepEqual(
    result.skipped.map(({ reason }) => reason),
    ['needs a GPU'],
  )
})

test('a failure is told in full, with its place, and a parent is not counted again', async () => {
  const result = await run(`
    test('outer', async (t) => { await t.test('inner', () => { console.log('said before'); throw new Error('the cause') }) })`)
  assert.equal(result.failures.length, 1)
  assert.match(result.failures[0]!.name, /^outer › inner \(planted-.*:3\)$/)
  assert.match(result.failures[0]!.why, /Error: the cause\n\s+at /)
  assert.match(fileLine(result), /FAIL.*the cause.*said before/s)
})

test('a file without tests, and one that cannot be loaded, fail', async () => {
  assert.match(whys(await run('')), /before its tests were over|no test in this file/)
  assert.match(whys(await run("import './missing.ts'\ntest('x', () => {})")), /status 1/)
})

test('ending the process in the middle is not a success', async () => {
  const result = await run("test('first', () => {})\ntest('second', () => process.exit(0))\ntest('third', () => {})")
  assert.match(whys(result), /before its tests were over/)
})

test('a status set by the file after its tests fails it', async () => {
  const result = await run("test('fine', () => {})\nprocess.on('exit', () => { process.exitCode = 3 })")
  assert.match(whys(result), /ended with 3/)
})

test('a skip without a reason fails', async () => {
  assert.match(whys(await run("test('later', { skip: true }, () => {})")), /without a reason/)
})

test('an open handle ends with the name of the file, not never', async () => {
  const result = await run("test('fine', () => {})\nsetInterval(() => {}, 1000)", { quietSeconds: 1 })
  assert.match(whys(result), /planted-.*no test is running, but something/)
})

test('a test that blocks its process is not taken for one that is over', async () => {
  const block = 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2500)'
  const result = await run(`test('first', () => {})\ntest('blocks', () => { ${block} })`, { quietSeconds: 1 })
  assert.deepEqual([result.passed, whys(result)], [2, ''])
})

test('a test that hangs ends at the limit and is named', async () => {
  const result = await run("test('hangs', () => new Promise((done) => setTimeout(done, 60_000)))", {
    timeoutSeconds: 1,
  })
  assert.match(whys(result), /not finished within 1 s.*Running: hangs/)
})

test('a process left behind is found and ended, one that ignores SIGTERM too', async () => {
  const result = await run(`
    import { spawn } from 'node:child_process'
    test('leaves one', () => {
      spawn(process.execPath, ['-e', 'process.on("SIGTERM", () => {}); setTimeout(() => {}, 60_000)'], { stdio: 'ignore' }).unref()
    })`)
  const pid = Number(/Left running: (\d+) /.exec(whys(result))?.[1])
  assert.ok(pid > 0, whys(result))
  assert.equal(identify(pid), null)
})

test('a file left in the temporary folder is named, and the folder removed', async () => {
  const result = await run(`
    import { writeFileSync } from 'node:fs'
    import { tmpdir } from 'node:os'
    test('leaves one', () => { console.log(tmpdir()); writeFileSync(tmpdir() + '/left.txt', '') })`)
  assert.match(whys(result), /Left in the temporary folder: left\.txt/)
})

test('a database left on the server of all files is named, and gone then', async () => {
  const own = await testDatabase()
  const server = { connection: withDatabase(own.connection, 'paddock'), stop: async () => {} }
  const database = new SharedDatabase(server)
  const testing = JSON.stringify(join(import.meta.dirname, '..', '..', 'src', 'store', 'testing.ts'))
  const left = `import { testDatabase } from ${testing}
    test('uses it', async () => {
      const db = await testDatabase()
      if ((await db.query('select 1 as one')).length !== 1) throw new Error('nothing there')`
  const tidy = await run(`${left}; await db.close() })`, { database })
  assert.deepEqual([tidy.passed, whys(tidy)], [1, ''])
  const untidy = await run(`${left}; setTimeout(() => process.exit(), 50) })`, { database })
  const [name] = /test_\d+_1/.exec(whys(untidy)) ?? []
  assert.match(whys(untidy), /Left in the database: test_\d+_1$/m)
  assert.deepEqual(await own.query('select 1 from pg_database where datname = $1', [name]), [])
  await database.stop()
  await own.close()
})

test('an interruption ends the file at once and is not a failure of it', async () => {
  const stop = new AbortController()
  const running = run("test('long', () => new Promise((done) => setTimeout(done, 60_000)))", {}, stop.signal)
  stop.abort()
  assert.equal((await running).passed, 0)
})

test('files are found, filtered and grouped', () => {
  for (const name of [
    'src/a/x.test.ts',
    'test/e2e/y.test.ts',
    'test/kill/z.test.ts',
    'test/elastic/a.test.ts',
    'node_modules/q/src/n.test.ts',
  ])
    planted(name, head)
  assert.deepEqual(findTestFiles(root), [
    'src/a/x.test.ts',
    'test/e2e/y.test.ts',
    'test/elastic/a.test.ts',
    'test/kill/z.test.ts',
  ])
  assert.deepEqual(findTestFiles(root, ['src']), ['src/a/x.test.ts'])
  assert.deepEqual(findTestFiles(root, ['test/e2e/y']), ['test/e2e/y.test.ts'])
  assert.deepEqual(findTestFiles(root, ['sr']), ['src/a/x.test.ts'])
  assert.deepEqual(findTestFiles(root, ['missing']), [])
  assert.deepEqual(
    groupFiles(findTestFiles(root), 2).map(({ name, jobs }) => [name, jobs]),
    [
      ['unit', 2],
      ['servers', 2],
      ['alone', 1],
    ],
  )
})

test('every file is in one group, and the longest, which are there, come first', () => {
  const files = findTestFiles(join(import.meta.dirname, '..', '..'))
  const groups = groupFiles(files, 2)
  assert.deepEqual(groups.flatMap((group) => group.files).toSorted(), files)
  for (const file of longest) assert.ok(files.includes(file), `${file} is listed and not there`)
  for (const { name, files } of groups) {
    const listed = files.map((file) => longest.includes(file))
    assert.equal(listed.lastIndexOf(true), listed.filter(Boolean).length - 1, name)
  }
})

test('the last line of the summary is the count', () => {
  const tally = new Tally()
  assert.equal(tally.ok, false)
  tally.add({
    file: 'a',
    passed: 2,
    failures: [],
    skipped: [{ name: 'gpu', reason: 'no GPU here' }],
    seconds: 1,
    output: '',
  })
  assert.equal(tally.ok, true)
  tally.add({ file: 'b', passed: 0, failures: [{ name: 'x', why: 'y' }], skipped: [], seconds: 1, output: '' })
  const lines = tally.summary(false).trimEnd().split('\n')
  assert.equal(lines.at(-1), '2 passed, 1 failed, 1 skipped')
  assert.ok(lines.includes('  a: gpu: no GPU here'), lines.join('\n'))
  assert.equal(tally.ok, false)
})

test('a file that passed when it was run again is named, and does not fail the run', async () => {
  const tally = new Tally()
  const first = await run("test('moody', () => { throw new Error('once') })")
  const second = await run("test('moody', () => {})")
  tally.add(second)
  tally.passedLater(first)
  assert.equal(tally.ok, true)
  assert.match(tally.summary(false), /passed when run again.*\n {2}planted-.*: moody.*\n1 passed, 0 failed\n$/s)
})
