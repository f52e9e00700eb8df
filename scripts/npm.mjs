/** Where npm is, and the environment it gets. Plain JavaScript without dependencies. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/**
 * How to start npm: `{file, args}`, or null. Under `npm run` and `npx` npm says where it is; else the PATH, else the
 * place where Node's own distributions put it.
 */
export function findNpm() {
  const named = process.env.npm_execpath || ''
  const beside = path.join(path.dirname(process.execPath), '..', 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js')
  const scripts = [path.basename(named) === 'npx-cli.js' ? path.join(path.dirname(named), 'npm-cli.js') : named, beside]
  const isNpm = (file) => path.basename(file) === 'npm-cli.js' && fs.existsSync(file)
  if (isNpm(scripts[0])) return { file: process.execPath, args: [scripts[0]] }
  const onPath = (process.env.PATH || '').split(path.delimiter).find((folder) => runnable(path.join(folder, 'npm')))
  if (onPath) return { file: path.join(onPath, 'npm'), args: [] }
  return isNpm(scripts[1]) ? { file: process.execPath, args: [scripts[1]] } : null
}

function runnable(file) {
  try {
    fs.accessSync(file, fs.constants.X_OK)
    return fs.statSync(file).isFile()
  } catch {
    return false
  }
}

/**
 * Our environment without what an outer `npm run` says of its own project, with `node` on the PATH, with a cache inside
 * `folder` when the usual one cannot be written (no home folder, a home of another user), and such that npm ends when
 * we are killed.
 */
export function npmEnvironment(folder) {
  const env = Object.assign({}, process.env)
  for (const name of Object.keys(env)) {
    if (/^npm_(package|lifecycle|command|config_(local_)?prefix|config_global|config_workspace)/i.test(name))
      delete env[name]
  }
  const guard = pathToFileURL(path.join(path.dirname(fileURLToPath(import.meta.url)), 'end-with-parent.mjs')).href
  env.NODE_OPTIONS = `${env.NODE_OPTIONS || ''} --import=${guard}`.trim()
  env.PATH = `${env.PATH || ''}${path.delimiter}${path.dirname(process.execPath)}`
  const cache = env.npm_config_cache || path.join(os.homedir(), '.npm')
  if (!writable(cache)) env.npm_config_cache = path.join(folder, 'cache')
  return env
}

function writable(folder) {
  try {
    fs.mkdirSync(path.join(folder, '_cacache', 'tmp'), { recursive: true })
    fs.accessSync(path.join(folder, '_cacache'), fs.constants.W_OK)
    fs.accessSync(path.join(folder, '_cacache', 'tmp'), fs.constants.W_OK)
    return true
  } catch {
    return false
  }
}
