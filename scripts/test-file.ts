/**
 * Runs one test file in its own process, session and temporary folder, and judges more than its tests: a file that
 * crashes, hangs, holds no test, or leaves a process or a file behind has failed.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FileDatabase } from './test-database.ts'
import { beatMs, type FileEvent } from './test-events.ts'
import { endSession, type Member, sessionMembers } from './test-leftovers.ts'

export const fileTimeoutSecondsDefault = 300
/** The process turns, but no test is running for so long: something keeps it alive. */
const quietSeconds = 60
const leftoversMayTakeMs = 3_000
const outputKeptChars = 64_000

export interface Failure {
  name: string
  /** Everything there is to say, several lines. */
  why: string
}

export interface FileResult {
  file: string
  passed: number
  failures: Failure[]
  /** Tests skipped with their reasons. */
  skipped: { name: string; reason: string }[]
  seconds: number
  /** The last part of what it wrote; shown when it failed. */
  output: string
}

export interface FileOptions {
  root: string
  /** Relative to `root`. */
  file: string
  timeoutSeconds?: number
  quietSeconds?: number
  namePattern?: string
  /** A Postgres that is there already; without it the file starts its own when it needs one. */
  database?: FileDatabase | undefined
}

/** Runs the file; never throws for anything the file does. An abort ends it at once. */
export async function runTestFile(options: FileOptions, signal?: AbortSignal): Promise<FileResult> {
  const began = performance.now()
  const result: FileResult = { file: options.file, passed: 0, failures: [], skipped: [], seconds: 0, output: '' }
  const folder = mkdtempSync(join(tmpdir(), 'pt-'))
  // Like the system's own: engines and Postgres run under other uids and may have to get through.
  chmodSync(folder, 0o1777)
  try {
    const child = start(options, folder)
    const run = follow(child, options, result, signal)
    await run.exited
    if (!signal?.aborted) judge(run.state, child, options, result)
    await noProcessLeft(child.pid!, result)
    if (options.database) await noDatabaseLeft(child.pid!, options.database, result)
    noFileLeft(folder, result)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  result.seconds = (performance.now() - began) / 1000
  return result
}

function start(options: FileOptions, folder: string): ChildProcess {
  const args = [`--test-reporter=${join(import.meta.dirname, 'test-events.ts')}`, '--test-reporter-destination=stdout']
  if (options.namePattern !== undefined) args.push(`--test-name-pattern=${options.namePattern}`)
  return spawn(process.execPath, [...args, options.file], {
    cwd: options.root,
    env: { ...testEnvironment(folder), ...options.database?.environment },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
  })
}

/** Compiled code, beside the packages, where the command keeps it too: most of a small file's time is to compile it again. */
const compiledFolder = join(import.meta.dirname, '..', 'node_modules', '.cache', 'paddock')

/** Ours without what npm says of the outer command, and without settings that would point tests at real data. */
function testEnvironment(folder: string): NodeJS.ProcessEnv {
  const foreign = /^(npm_|PADDOCK_|DATABASE_URL$|NODE_TEST_CONTEXT$|INIT_CWD$)/
  const kept = Object.entries(process.env).filter(([name]) => !foreign.test(name))
  return { NODE_COMPILE_CACHE: compiledFolder, ...Object.fromEntries(kept), TMPDIR: folder }
}

interface RunState {
  over: boolean
  /** Names by id. */
  running: Map<number, string>
  ended: string
}

function follow(child: ChildProcess, options: FileOptions, result: FileResult, signal?: AbortSignal) {
  const state: RunState = { over: false, running: new Map(), ended: '' }
  const keep = (chunk: Buffer) => {
    result.output = (result.output + chunk.toString()).slice(-outputKeptChars)
  }
  child.stdout!.on('data', keep)
  child.stderr!.on('data', keep)
  const quiet = (options.quietSeconds ?? quietSeconds) * 1000
  let idleBeats = 0
  const lines = createInterface({ input: child.stdio[3] as Readable })
  const allHeard = new Promise<void>((resolve) => lines.once('close', resolve))
  lines.on('line', (line) => {
    const event = JSON.parse(line) as FileEvent
    idleBeats = event.type === 'beat' && state.running.size === 0 ? idleBeats + 1 : 0
    note(event, state, result)
    if (idleBeats * beatMs > quiet)
      end('no test is running, but something that the file opened keeps its process alive')
  })
  const end = (why: string) => {
    state.ended ||= why
    endSession(child.pid!)
  }
  const limit = options.timeoutSeconds ?? timeoutOf(join(options.root, options.file))
  const timer = setTimeout(() => end(`not finished within ${limit} s`), limit * 1000)
  const abort = () => end('interrupted')
  signal?.addEventListener('abort', abort, { once: true })
  const exited = new Promise<void>((resolve) => {
    child.on('error', (error) => end(error.message))
    // Not 'close': a process that the file left behind may hold its output open.
    child.on('exit', () => Promise.race([allHeard, sleep(500)]).then(() => resolve()))
  }).finally(() => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
  })
  return { state, exited }
}

function note(event: FileEvent, state: RunState, result: FileResult): void {
  if (event.type === 'over') state.over = true
  if (event.type === 'begun') state.running.set(event.id, event.name)
  if (event.type !== 'done') return
  state.running.delete(event.id)
  const name = `${event.name} (${result.file}:${event.line})`
  if (event.outcome === 'failed') result.failures.push({ name, why: event.why })
  if (event.kind === 'suite') return
  if (event.outcome === 'passed') result.passed += 1
  if (event.outcome !== 'skipped') return
  if (event.why === '') result.failures.push({ name, why: 'Skipped without a reason; a skip says why.' })
  else result.skipped.push({ name, reason: event.why })
}

function judge(state: RunState, child: ChildProcess, options: FileOptions, result: FileResult): void {
  const fail = (why: string) => result.failures.push({ name: options.file, why })
  const running = [...state.running.values()]
  if (state.ended)
    fail(`Ended by the runner: ${state.ended}.${running.length ? ` Running: ${running.join(', ')}` : ''}`)
  else if (!state.over) fail(`Ended (${child.signalCode ?? `status ${child.exitCode}`}) before its tests were over.`)
  else if (child.exitCode !== 0 && result.failures.length === 0)
    fail(`All tests passed, but it ended with ${child.exitCode}.`)
  const ran = result.passed + result.failures.length + result.skipped.length
  if (ran === 0 && options.namePattern === undefined) fail('There is no test in this file.')
}

/** Seconds this file asks for in a line `// test timeout: 600 s`, else the default. */
function timeoutOf(path: string): number {
  const match = /^\/\/ test timeout: (\d{1,5}) s$/m.exec(readFileSync(path, 'utf8').slice(0, 4_000))
  return match ? Number(match[1]) : fileTimeoutSecondsDefault
}

async function noProcessLeft(pid: number, result: FileResult): Promise<void> {
  const left = await membersAfter(pid)
  if (left.length === 0) return
  const named = left.map((one) => `${one.pid} ${one.command}`).join('; ')
  result.failures.push({ name: result.file, why: `Left running: ${named}` })
  endSession(pid)
  await membersAfter(pid)
}

/** Who is still there when they had a little time to end. */
async function membersAfter(pid: number): Promise<Member[]> {
  const deadline = performance.now() + leftoversMayTakeMs
  for (;;) {
    const left = sessionMembers(pid)
    if (left.length === 0 || performance.now() >= deadline) return left
    await sleep(50)
  }
}

async function noDatabaseLeft(pid: number, database: FileDatabase, result: FileResult): Promise<void> {
  const left = await database.leftBy(pid).catch((error: Error) => [`nobody knows what: ${error.message}`])
  if (left.length > 0) result.failures.push({ name: result.file, why: `Left in the database: ${left.join(', ')}` })
}

function noFileLeft(folder: string, result: FileResult): void {
  const left = readdirSync(folder).filter((name) => name !== 'node-compile-cache')
  if (left.length === 0) return
  result.failures.push({ name: result.file, why: `Left in the temporary folder: ${left.slice(0, 10).join(', ')}` })
}
