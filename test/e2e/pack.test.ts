/**
 * A release, as somebody gets it: built, packed, installed into an empty folder as a dependency, and run from there by
 * whatever Node the host has. (X13: what works in a clone works from the package.)
 */
// test timeout: 600 s
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, globSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import { after, test } from 'node:test'
import { compile } from '../../scripts/compile.ts'
import { findNpm } from '../../scripts/npm.mjs'
import { pack } from '../../scripts/release.ts'
import { findProgram } from '../../src/runtime/processes.ts'
import { startServer } from './harness.ts'
import { Place } from './place.ts'

const root = resolve(import.meta.dirname, '..', '..')
const folder = mkdtempSync(join(tmpdir(), 'release-'))
const app = join(folder, 'node_modules', 'paddock')
const command = join(folder, 'node_modules', '.bin', 'paddock')
after(() => rmSync(folder, { recursive: true, force: true }))
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

function run(file: string, args: string[], env: NodeJS.ProcessEnv = process.env) {
  return spawnSync(file, args, { cwd: folder, env, encoding: 'utf8', maxBuffer: 16 * 1024 * 1024 })
}

test('it builds, packs, and installs into an empty folder', () => {
  assert.equal(compile(root), null)
  const file = pack(root, folder)
  writeFileSync(join(folder, 'package.json'), '{ "name": "somebody", "version": "1.0.0" }')
  const npm = findNpm()!
  const flags = ['--ignore-scripts', '--omit=dev', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']
  const { status, stderr } = run(npm.file, [...npm.args, 'install', file, ...flags])
  assert.equal(status, 0, stderr)
  rmSync(file)
})

test('it carries JavaScript and what that reads, no sources and no tests', () => {
  assert.deepEqual(globSync('**/*.ts', { cwd: join(app, 'dist') }), [])
  assert.deepEqual(globSync('**/*.{test,suite,fixture}.js', { cwd: join(app, 'dist') }), [])
  assert.ok(existsSync(join(app, 'LICENSE')) && existsSync(join(app, 'models', 'starter', 'paddock-starter.gguf')))
  const assets = globSync('src/**/*.{sql,json}', { cwd: root }).map((path) => path.replace(/^src/, 'dist'))
  assert.ok(assets.length > 0)
  for (const path of assets) assert.ok(existsSync(join(app, path)), `${path} is missing`)
})

test('GPU builds of llama.cpp are not fetched, nor anything else that is large', () => {
  const builds = globSync('node_modules/**/@node-llama-cpp/*', { cwd: folder }).map((path) => path.split('/').at(-1)!)
  assert.ok(builds.length > 0)
  assert.deepEqual(
    builds.filter((name) => /cuda|vulkan/.test(name)),
    [],
  )
  const megabytes = bytesBelow(join(folder, 'node_modules')) / 1e6
  assert.ok(megabytes < 450, `the installation has ${megabytes.toFixed(0)} MB`)
})

test('it starts on the Node that it is pinned to', () => {
  for (const args of [['--version'], ['--help']]) {
    const { status, stdout, stderr } = run(process.execPath, [command, ...args])
    assert.equal(status, 0, stderr)
    assert.match(stdout, args[0] === '--version' ? new RegExp(`^${version.replaceAll('.', '\\.')}$`, 'm') : /serve/)
  }
})

const outside = (process.env.PATH ?? '').split(delimiter).filter((part) => !part.includes('node_modules'))
const hostNode = findProgram('node', outside.join(delimiter))
const hostVersion = hostNode ? run(hostNode, ['--version']).stdout.trim() : ''
const sameMajor = hostVersion.split('.')[0] === process.version.split('.')[0]
const skip =
  !hostNode || sameMajor ? `needs a Node of another major version on the PATH, found ${hostVersion || 'none'}` : false

test('and on whatever other Node the host has', { skip }, () => {
  const { status, stdout, stderr } = run(hostNode!, [command, '--version'], {
    ...process.env,
    PATH: outside.join(delimiter),
  })
  assert.equal(status, 0, stderr)
  assert.match(stdout, new RegExp(version.replaceAll('.', '\\.')))
})

test('it serves: a deployment answers a chat, and nothing is left behind', async () => {
  const place = new Place()
  try {
    const server = await startServer(place, { program: [process.execPath, join(app, 'bin', 'paddock.mjs')] })
    await server.deploy('packed')
    await server.active('packed')
    const messages = [{ role: 'user' as const, content: 'Hello' }]
    const answer = await server.openai().chat.completions.create({ model: 'packed', messages, max_tokens: 8 })
    assert.ok(answer.usage!.completion_tokens > 0)
    assert.equal((await fetch(`${server.url}/docs/api/swagger-ui.css`)).status, 200)
    await server.stop()
  } finally {
    await place.remove()
  }
})

function bytesBelow(path: string): number {
  let bytes = 0
  for (const entry of readdirSync(path, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) bytes += statSync(join(entry.parentPath, entry.name)).size
  }
  return bytes
}
