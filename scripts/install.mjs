/**
 * Installs what package-lock.json asks for, when it is not there. The packages are put together in a private folder and
 * take the place of `node_modules` in one step, so that an install which is interrupted, or two at once, never leave a
 * half-filled `node_modules`. Plain JavaScript without dependencies: nothing is installed yet when this runs.
 */
import childProcess from 'node:child_process'
import crypto from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { findPinnedNode, runsPinnedMajor } from '../bin/pinned-node.mjs'
import { findNpm, npmEnvironment } from './npm.mjs'

const stampName = '.paddock-installed'
/** Beside node_modules, so that the packages can be renamed into place. */
const workName = '.paddock-install'
const heartbeatMs = 1000
/** An install whose heartbeat is older than this is dead; its folder is removed. */
const deadAfterMs = 6000
const plainProgressEveryMs = 10000
const linesOfNpmShown = 15

/** An error whose message is meant for the person, without a stack. */
class InstallProblem extends Error {
  constructor(sentence) {
    super(sentence)
    this.sentence = sentence
  }
}

/** Returns when node_modules holds what the lockfile asks for. Throws an error with `sentence` when it cannot. */
export async function ensureInstalled(root) {
  const work = path.join(root, workName)
  if (isInstalled(root)) {
    // Left by somebody who was killed while tidying up.
    if (fs.existsSync(work)) removeDead(work)
    return
  }
  refuseWhereWeMayNot(root)
  const own = claim(work)
  const heartbeat = setInterval(() => touch(own), heartbeatMs)
  const interruption = watchInterruption()
  try {
    await othersDone(root, work, own, interruption)
    if (!isInstalled(root) && !interruption.signal) await install(root, own, interruption)
  } finally {
    clearInterval(heartbeat)
    interruption.forget()
    remove(own)
    removeIfEmpty(work)
  }
  if (!interruption.signal) return
  process.kill(process.pid, interruption.signal)
  throw new InstallProblem('Interrupted; the same command tries again.')
}

/** What a finished install is stamped with: the lockfile, and the machine that it was made for. */
function wantedStamp(root) {
  const lock = fs.readFileSync(path.join(root, 'package-lock.json'))
  return `${crypto.createHash('sha256').update(lock).digest('hex')} ${process.platform}-${process.arch}\n`
}

export function isInstalled(root) {
  const stamp = path.join(root, 'node_modules', stampName)
  try {
    if (fs.readFileSync(stamp, 'utf8') === wantedStamp(root)) return true
  } catch {
    // no stamp: not installed, or installed by hand with npm
  }
  if (!npmInstalledTheSame(root)) return false
  try {
    fs.writeFileSync(stamp, wantedStamp(root))
  } catch {
    // a read-only installation is checked again next time
  }
  return true
}

/** True when npm's own record of what it put into node_modules agrees with the lockfile (a person ran npm ci). */
function npmInstalledTheSame(root) {
  try {
    const wanted = readPackages(path.join(root, 'package-lock.json'))
    const there = readPackages(path.join(root, 'node_modules', '.package-lock.json'))
    if (!findPinnedNode(root) && !runsPinnedMajor(root)) return false
    return Object.keys(wanted).every((name) => sameOrOptional(name, wanted[name], there[name]))
  } catch {
    return false
  }
}

function readPackages(file) {
  return JSON.parse(fs.readFileSync(file, 'utf8')).packages
}

function sameOrOptional(name, wanted, there) {
  if (name === '') return true
  if (!there) return wanted.optional === true || wanted.devOptional === true
  return wanted.version === there.version && wanted.integrity === there.integrity
}

function refuseWhereWeMayNot(root) {
  const modules = path.join(root, 'node_modules')
  try {
    if (fs.lstatSync(modules).isSymbolicLink())
      throw new InstallProblem(
        `node_modules is a link to ${fs.readlinkSync(modules)}, which does not hold what package-lock.json asks for. Update it there, or remove the link.`,
      )
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
  }
  try {
    fs.accessSync(root, fs.constants.W_OK)
  } catch (error) {
    throw new InstallProblem(
      `The packages are not installed and ${root} is not writable (${error.code}). Run this once as a user who may write there, or clone to a folder of your own.`,
    )
  }
}

function claim(work) {
  try {
    fs.mkdirSync(work, { recursive: true })
    return fs.mkdtempSync(path.join(work, `install-${Date.now()}-`))
  } catch (error) {
    throw new InstallProblem(`Could not make a folder for the packages in ${work}: ${error.message}`)
  }
}

/** Waits while an older install is at work. Harmless when two pass at the same instant: the swap decides. */
async function othersDone(root, work, own, interruption) {
  let told = false
  while (!interruption.signal) {
    const alive = removeDead(work)
    if (!alive.some((name) => name < path.basename(own)) || isInstalled(root)) return
    if (!told) say('Another Paddock command is installing the packages; waiting for it.\n')
    told = true
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
}

/** Removes folders whose owner is gone; returns the names of the others. */
function removeDead(work) {
  const alive = []
  for (const name of fs.readdirSync(work)) {
    const folder = path.join(work, name)
    const age = Date.now() - modifiedMs(folder)
    if (age < deadAfterMs) alive.push(name)
    else remove(folder)
  }
  removeIfEmpty(work)
  return alive
}

function modifiedMs(folder) {
  try {
    return fs.statSync(folder).mtimeMs
  } catch (_error) {
    return 0
  }
}

async function install(root, own, interruption) {
  for (const name of ['package.json', 'package-lock.json', '.npmrc']) {
    if (fs.existsSync(path.join(root, name))) fs.copyFileSync(path.join(root, name), path.join(own, name))
  }
  const began = Date.now()
  const stopProgress = progress(began)
  let result
  try {
    result = await runNpm(own, interruption)
  } finally {
    stopProgress()
  }
  if (result.status !== 0) {
    // Somebody else may have finished meanwhile, and swept our folder away after a long pause of this process.
    if (isInstalled(root) || interruption.signal) return
    throw new InstallProblem(explain(result))
  }
  fs.writeFileSync(path.join(own, 'node_modules', stampName), wantedStamp(root))
  linkCommand(path.join(own, 'node_modules', '.bin'))
  swapIn(root, own)
  say(`Installed in ${seconds(began)}.\n`)
}

/** npm links the commands of our packages but not our own. */
function linkCommand(bin) {
  fs.mkdirSync(bin, { recursive: true })
  fs.symlinkSync(path.join('..', '..', 'bin', 'paddock.mjs'), path.join(bin, 'paddock'))
}

/** Puts the new node_modules into place. An old one is moved aside first and removed with our folder. */
function swapIn(root, own) {
  const modules = path.join(root, 'node_modules')
  for (let attempt = 0; attempt < 5; attempt += 1) {
    if (isInstalled(root)) return
    try {
      if (fs.existsSync(modules)) fs.renameSync(modules, path.join(own, `old-${attempt}`))
      fs.renameSync(path.join(own, 'node_modules'), modules)
      return
    } catch (error) {
      if (error.code === 'ENOTEMPTY' || error.code === 'EEXIST' || error.code === 'ENOENT') continue
      throw new InstallProblem(
        `Could not replace ${modules} (${error.code}). If it is a mount point, run "npm ci --ignore-scripts" and try again.`,
      )
    }
  }
  throw new InstallProblem(`Could not replace ${modules}: another program keeps writing there.`)
}

function runNpm(folder, interruption) {
  const npm = findNpm()
  if (!npm) throw new InstallProblem('npm was not found: it comes with Node, install both and try again.')
  const args = ['ci', '--ignore-scripts', '--include=dev', '--include=optional', '--prefer-offline']
  const quiet = ['--no-audit', '--no-fund', '--no-progress', '--loglevel=error']
  return new Promise((resolve) => {
    const child = childProcess.spawn(npm.file, npm.args.concat(args, quiet), {
      cwd: folder,
      env: npmEnvironment(folder),
      // The fourth is the pipe by which npm notices that we are gone (end-with-parent.mjs).
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    })
    interruption.stop = () => child.kill('SIGKILL')
    let output = ''
    const keep = (chunk) => {
      output = (output + chunk).slice(-20000)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.on('error', (error) => resolve({ status: error.message, output }))
    child.on('close', (code, signal) => resolve({ status: code === null ? signal : code, output }))
  })
}

function explain(result) {
  const known = [
    [/ENOSPC/, 'The disk is full; the packages need 600 MB.'],
    [/ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ECONNRESET|ENETUNREACH/, 'The npm registry could not be reached.'],
    [/EINTEGRITY/, 'A package that npm fetched is not the one that package-lock.json names.'],
    [/EUSAGE/, 'package.json and package-lock.json do not agree.'],
  ]
  const match = known.find(([pattern]) => pattern.test(result.output))
  const why = match ? match[1] : `npm ci ended with ${result.status}.`
  const lines = result.output.trim().split('\n').slice(-linesOfNpmShown).join('\n')
  return `${lines}\n\nThe packages could not be installed: ${why} Nothing was changed; the same command tries again.`
}

function progress(began) {
  const text = () => `Installing the packages (once, about 490 MB) … ${seconds(began)}`
  if (!process.stderr.isTTY) {
    say(`${text()}\n`)
    const timer = setInterval(() => say(`${text()}\n`), plainProgressEveryMs)
    return () => clearInterval(timer)
  }
  const timer = setInterval(() => say(`\r${text()}`), 200)
  return () => {
    clearInterval(timer)
    say('\r\u001b[K')
  }
}

function seconds(began) {
  return `${Math.round((Date.now() - began) / 1000)} s`
}

/**
 * Notes the signal by which a person interrupts, and calls `stop`. Whoever holds it stops, tidies up and ends the
 * process by the same signal.
 */
function watchInterruption() {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
  const state = { signal: null, stop: () => {}, forget }
  function forget() {
    for (const name of signals) process.off(name, note)
  }
  function note(signal) {
    state.signal = signal
    state.stop()
  }
  for (const name of signals) process.on(name, note)
  return state
}

function touch(folder) {
  try {
    const now = new Date()
    fs.utimesSync(folder, now, now)
  } catch {
    // swept away by another command after a long pause; the end of npm shows
  }
}

function remove(folder) {
  try {
    fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  } catch {
    // somebody still writes there; whoever installs next sweeps it
  }
}

function removeIfEmpty(folder) {
  try {
    fs.rmdirSync(folder)
  } catch {
    // another install is at work, or it is gone already
  }
}

/** To stderr: stdout belongs to the command that follows (`--json`). */
function say(text) {
  process.stderr.write(text)
}
