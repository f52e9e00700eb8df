/**
 * What `npm run …` calls. Any Node ≥ 20 gets this far; it installs what is missing and goes on with the pinned Node.
 * Plain old JavaScript without dependencies, so that an older Node can read it and say that it is too old.
 */
import fs from 'fs'
import path from 'path'
import { fileURLToPath, pathToFileURL } from 'url'
import {
  endWithNpm,
  findPinnedNode,
  nodeTooOld,
  pinnedVersion,
  runInstead,
  unsupportedPlatform,
} from '../bin/pinned-node.mjs'

const root = path.dirname(path.dirname(fs.realpathSync(fileURLToPath(import.meta.url))))
const entries = {
  demo: ['bin/paddock.mjs', 'demo'],
  test: ['scripts/test.ts'],
  bench: ['bench/run.ts'],
  check: ['scripts/check.ts'],
  build: ['scripts/build.ts'],
}

function fail(sentence) {
  console.error(sentence)
  process.exit(1)
}

async function start(command, args) {
  const problem = nodeTooOld()
  if (problem) return fail(problem)
  const entry = Object.keys(entries).includes(command) ? entries[command] : null
  if (!entry) return fail(`Usage: node scripts/bootstrap.mjs <${Object.keys(entries).join('|')}> [arguments]`)
  const unsupported = unsupportedPlatform(root)
  if (unsupported) return fail(unsupported)
  endWithNpm()
  await (await import('./install.mjs')).ensureInstalled(root)
  return run(path.join(root, entry[0]), entry.slice(1).concat(args))
}

function run(program, args) {
  const node = findPinnedNode(root)
  if (process.version === `v${pinnedVersion(root)}` || !node) {
    process.argv = [process.execPath, program].concat(args)
    return import(pathToFileURL(program).href)
  }
  return runInstead(node, [program].concat(args))
}

start(process.argv[2] || '', process.argv.slice(3)).catch((error) => fail(error.sentence || error.stack))
