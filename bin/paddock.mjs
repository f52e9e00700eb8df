#!/usr/bin/env node
/**
 * The command. In a clone it runs the TypeScript in `src/`, in a release the JavaScript in `dist/`; in both on the
 * pinned Node, whatever Node the host has. A clone that was never installed installs itself first.
 */
import fs from 'fs'
import module from 'module'
import path from 'path'
import { fileURLToPath, pathToFileURL } from 'url'
import {
  endWithNpm,
  findPinnedNode,
  nodeTooOld,
  runInstead,
  runsPinnedMajor,
  unsupportedPlatform,
} from './pinned-node.mjs'

const self = fs.realpathSync(fileURLToPath(import.meta.url))
const root = path.dirname(path.dirname(self))
const source = path.join(root, 'src', 'main.ts')
const inClone = fs.existsSync(source)

function fail(sentence) {
  console.error(sentence)
  process.exit(1)
}

/**
 * Keeps compiled code (and TypeScript already stripped) beside the packages, for us and the processes that we start:
 * a command then begins in half the time. Where that folder cannot be written nothing is kept.
 */
function keepCompiled() {
  if (!module.enableCompileCache || process.env.NODE_COMPILE_CACHE) return
  const folder = path.join(root, 'node_modules', '.cache', 'paddock')
  const { status } = module.enableCompileCache(folder)
  if (status === module.constants.compileCacheStatus.ENABLED) process.env.NODE_COMPILE_CACHE = folder
}

async function start() {
  const problem = nodeTooOld() || unsupportedPlatform(root)
  if (problem) return fail(problem)
  endWithNpm()
  if (inClone) await (await import('../scripts/install.mjs')).ensureInstalled(root)
  if (runsPinnedMajor(root)) {
    keepCompiled()
    return import(pathToFileURL(inClone ? source : path.join(root, 'dist', 'main.js')).href)
  }
  const node = findPinnedNode(root)
  if (!node)
    return fail(
      'The Node that Paddock is pinned to is missing: it is an optional package, install again without --omit=optional.',
    )
  return runInstead(node, [self].concat(process.argv.slice(2)))
}

start().catch((error) => fail(error.sentence || error.stack))
