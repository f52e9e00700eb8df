/** Each rule is shown a violation that it must find, at its place; and a clean tree, of which it must say nothing. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { defaultLists, told, violations } from './rules.ts'

const matrix = readFileSync(resolve(import.meta.dirname, '..', '..', 'src', 'README.md'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| '))
  .filter((line) => /✓|·|from ╲ to/.test(line))
  .flatMap((line, at) => (at === 0 ? [line, '|---|'] : [line]))
  .join('\n')

/** A small tree in which everything is right. */
const clean: Record<string, string> = {
  'src/README.md': `# Walks\n\n${matrix}\n`,
  'src/main.ts': "import './server.ts'\n",
  'src/server.ts': "import './server-parts.ts'\nimport { local } from './compute/registry.ts'\nlocal()\n",
  'src/server-parts.ts': "export { api } from './api/app.ts'\n",
  'src/kernel/fault.ts': 'export const fault = 1\n',
  'src/runtime/clock.ts': "import { fault } from '../kernel/fault.ts'\nexport const now = () => Date.now() + fault\n",
  'src/store/pool.ts': "import pg from 'pg'\nexport const pool = pg\n",
  'src/engines/contract.ts': 'export interface Engine {}\n',
  'src/compute/contract.ts': 'export interface Compute {}\n',
  'src/compute/registry.ts': "export { local } from './local/driver.ts'\n",
  'src/compute/local/driver.ts':
    "import type { Compute } from '../contract.ts'\nexport const local = (c?: Compute) => c\n",
  'src/access/keyring.ts': 'export const keyring = new Map()\nexport const at = (t: number) => new Date(t)\n',
  'src/access/store.ts': "import { pool } from '../store/pool.ts'\nexport const rows = pool\n",
  'src/access/commands.ts': "import { rows } from './store.ts'\nexport const create = rows\n",
  'src/usage/ledger.ts': "import { create } from '../access/commands.ts'\nexport const ledger = create\n",
  'src/api/app.ts':
    "import { Hono } from 'hono'\nimport { create } from '../access/commands.ts'\nexport const api = [Hono, create]\n",
  'src/gateway/serve.ts': "import { keyring } from '../access/keyring.ts'\nexport const serve = keyring\n",
  'src/access/keyring.test.ts': "import { pool } from '../store/pool.ts'\nsetTimeout(() => pool, Math.random())\n",
  'package-lock.json': '{ "packages": {} }\n',
}
const lists: typeof defaultLists = { ...defaultLists, globalExceptions: [], ratchet: {} }

function told_(planted: Record<string, string>, with_: Partial<typeof lists> = {}): string[] {
  return violations(new Map(Object.entries({ ...clean, ...planted })), { ...lists, ...with_ }).map(told)
}

/** The planted files bring exactly one violation, of this rule, at this place. */
function caught(expected: RegExp, planted: Record<string, string>, with_: Partial<typeof lists> = {}): void {
  const found = told_(planted, with_)
  assert.equal(found.length, 1, `found ${found.length}:\n${found.join('\n')}`)
  assert.match(found[0]!, expected)
}

test('a clean tree passes', () => assert.deepEqual(told_({}), []))

const file = (path: string, text: string) => ({ [path]: text })
const imports: [string, RegExp, Record<string, string>][] = [
  [
    'kernel imports nothing',
    /a\.ts:1 import matrix: kernel → runtime/,
    file('src/kernel/a.ts', "import '../runtime/clock.ts'\n"),
  ],
  ['nor by type', /kernel → store/, file('src/kernel/a.ts', "import type { pool } from '../store/pool.ts'\n")],
  [
    'nor by an import type',
    /a\.ts:2 .*kernel → store/,
    file('src/kernel/a.ts', "\nexport type P = typeof import('../store/pool.ts')\n"),
  ],
  ['nor by re-export', /wire → access/, file('src/wire/a.ts', "export * from '../access/keyring.ts'\n")],
  ['nor late', /runtime → store/, file('src/runtime/a.ts', "export const late = () => import('../store/pool.ts')\n")],
  [
    'domains in their order',
    /access → usage/,
    file('src/access/a.ts', "import { ledger } from '../usage/ledger.ts'\nledger()\n"),
  ],
  [
    'a driver and its sibling',
    /a driver never imports its sibling/,
    file('src/compute/docker/driver.ts', "import '../local/driver.ts'\n"),
  ],
  [
    'a driver and a domain',
    /compute\/\* → access/,
    file('src/compute/local/a.ts', "import '../../access/keyring.ts'\n"),
  ],
  [
    'only the composition has the drivers',
    /usage → compute\/\*/,
    file('src/usage/a.ts', "import '../compute/local/driver.ts'\n"),
  ],
  [
    'a driver and the other registry',
    /compute\/\* → engines\/registry/,
    { 'src/engines/registry.ts': '', ...file('src/compute/local/a.ts', "import '../../engines/registry.ts'\n") },
  ],
  ['api and the store', /api → store/, file('src/api/a.ts', "import '../store/pool.ts'\n")],
  [
    "api and a domain's store",
    /api → access: commands and pure parts only/,
    file('src/api/a.ts', "import '../access/store.ts'\n"),
  ],
  [
    'gateway and SQL, directly',
    /gateway → access: in-memory parts only/,
    file('src/gateway/a.ts', "import '../access/store.ts'\n"),
  ],
  [
    'gateway and SQL, two steps away',
    /ledger\.ts leads to the database/,
    file('src/gateway/a.ts', "import '../usage/ledger.ts'\n"),
  ],
  ['gateway and a folder without a cell', /gateway → api/, file('src/gateway/a.ts', "import '../api/app.ts'\n")],
  ['cli and the server', /cli → server/, file('src/cli/a.ts', "import '../server.ts'\n")],
  ['the server and the cli', /server → cli/, { 'src/cli/a.ts': '', 'src/server.ts': "import './cli/a.ts'\n" }],
  ['a new folder', /quotas\/a\.ts has no row/, file('src/quotas/a.ts', "import '../kernel/fault.ts'\n")],
  [
    'a file beside the drivers',
    /compute\/gpu\.ts has no row/,
    file('src/compute/gpu.ts', "import '../kernel/fault.ts'\n"),
  ],
  ['a new file at the top', /src\/extra\.ts has no row/, file('src/extra.ts', "import './kernel/fault.ts'\n")],
  [
    'tests in the product',
    /keyring\.test\.ts is for tests only/,
    file('src/access/a.ts', "import './keyring.test.ts'\n"),
  ],
  ['the test folder in the product', /outside src/, file('src/access/a.ts', "import '../../test/e2e/start.ts'\n")],
  [
    'a package in the wrong folder',
    /packages: pg belongs in src\/store/,
    file('src/usage/a.ts', "import pg from 'pg'\npg()\n"),
  ],
  [
    'a subpath of a package',
    /packages: hono belongs in/,
    file('src/access/a.ts', "import { html } from 'hono/html'\nhtml()\n"),
  ],
  ['an unknown package', /packages: lodash is in no list/, file('src/api/a.ts', "import 'lodash'\n")],
  [
    'a circle',
    /cycles: .*usage\/a\.ts → src\/usage\/b\.ts → src\/usage\/a\.ts/,
    { 'src/usage/a.ts': "import './b.ts'\n", 'src/usage/b.ts': "import './a.ts'\n" },
  ],
]
for (const [name, expected, planted] of imports) test(`imports: ${name}`, () => caught(expected, planted))

test('imports: types do not lead the gateway to the database, nor close a circle', () => {
  assert.deepEqual(
    told_(file('src/gateway/a.ts', "import type { rows } from '../access/store.ts'\nexport type R = typeof rows\n")),
    [],
  )
  assert.deepEqual(
    told_({ 'src/usage/a.ts': "import './b.ts'\n", 'src/usage/b.ts': "import type {} from './a.ts'\n" }),
    [],
  )
})

const globals: [string, string][] = [
  ['Date.now', 'export const a = Date.now()\n'],
  ['Date.now', 'export const a = Date["now"]()\n'],
  ['Date.now', 'export const a = { clock: Date.now }\n'],
  ['new Date()', 'export const a = new Date()\n'],
  ['new Date()', 'export const a = [new Date]\n'],
  ['setTimeout', 'export const a = (f: () => void) => setTimeout(f, 1)\n'],
  ['setTimeout', 'export const a = (f: () => void) => globalThis.setTimeout(f, 1)\n'],
  ['setInterval', 'const tick = setInterval\nexport { tick }\n'],
  ['Math.random', 'export const a = [1].map(Math.random)\n'],
  ['Math.random', 'const { random } = Math\nexport { random }\n'],
  ['performance.now', 'export class A { #at = performance.now() }\n'],
  ['process.env', 'export const a = process.env.HOME\n'],
  ['process.env', 'export const { HOME } = process.env\n'],
  ['process.env', 'const { env } = process\nexport { env }\n'],
  ['fetch', 'export const a = (get = fetch) => get\n'],
  ['AbortSignal.timeout', 'export const a = AbortSignal.timeout(5)\n'],
  ['node:timers/promises', "import { setTimeout as sleep } from 'node:timers/promises'\nexport { sleep }\n"],
  ['node:perf_hooks', "import { performance } from 'node:perf_hooks'\nexport { performance }\n"],
  ['randomUUID', "import { createHash, randomUUID } from 'node:crypto'\nexport { createHash, randomUUID }\n"],
  ['crypto.randomUUID', 'export const a = crypto.randomUUID()\n'],
]
for (const [what, text] of globals)
  test(`globals: ${text.trim().split('\n')[0]}`, () => {
    const found = told_(file('src/access/a.ts', text))
    assert.ok(
      found[0]?.startsWith(`src/access/a.ts:1 globals: ${what} is for runtime/ only`),
      found.join('\n') || 'nothing was found',
    )
    assert.deepEqual(told_(file('src/runtime/a.ts', text)), [])
    assert.deepEqual(told_(file('src/access/a.test.ts', text)), [])
  })

test('globals: comments, strings, members of others, parameters and dates of a time are no violation', () => {
  const text = `// Date.now() and fetch
    import { createHash } from 'node:crypto'
    export const text = 'Math.random()' + /setTimeout/.source + \`process.env\`
    export const a = (clock: { setTimeout(): void; fetch: number }) => clock.setTimeout()
    export const b = (fetch: () => void, at: number) => [fetch(), new Date(at), createHash('md5')]
    export interface C { fetch(): void; setTimeout: typeof fetch }
    export class D { fetch() { return this.fetch() } }\n`
  assert.deepEqual(told_(file('src/access/a.ts', text)), [])
})

test('globals: an exception excuses its file and what it names, and must go when it is no longer needed', () => {
  const globalExceptions = [{ path: 'src/access/a.ts', what: ['fetch'], why: 'planted' }]
  assert.deepEqual(told_(file('src/access/a.ts', 'fetch("x")\n'), { globalExceptions }), [])
  caught(/Math\.random/, file('src/access/a.ts', 'fetch(Math.random())\n'), { globalExceptions })
  caught(/no longer uses fetch/, {}, { globalExceptions })
})

const long = (lines: number, inner = '  void 0\n') => inner.repeat(lines)
test('sizes: a long file, a long function of each kind, a long README', () => {
  caught(/a\.ts sizes: .* has 401 lines, 400/, file('src/usage/a.ts', long(401, 'void 0\n')))
  caught(
    /a\.ts:2 sizes: .*#load has 71 lines, 70/,
    file('src/usage/a.ts', `\nexport function load() {\n${long(69)}}\n`),
  )
  caught(/#load has 71/, file('src/usage/a.ts', `export const load = () => {\n${long(69)}}\n`))
  caught(/#save has 71/, file('src/usage/a.ts', `export class A {\n  async save() {\n${long(69)}}\n}\n`))
  caught(/#constructor has 71/, file('test/e2e/a.ts', `export class A {\n  constructor() {\n${long(69)}}\n}\n`))
  caught(/install\.mjs:1 sizes: .*#go has 71/, file('scripts/install.mjs', `function go() {\n${long(69)}}\ngo()\n`))
  caught(/README\.md has 41 lines, 40/, file('src/usage/README.md', long(41, 'text\n')))
  assert.deepEqual(told_(file('src/usage/a.test.ts', `describe('all', () => {\n${long(90)}})\n`)), [])
})

test('sizes: the ratchet allows what it names, only just, and only while it is needed', () => {
  const planted = file('src/usage/a.ts', long(410, 'void 0\n'))
  assert.deepEqual(told_(planted, { ratchet: { 'src/usage/a.ts': 410 } }), [])
  caught(/410 lines, 409/, planted, { ratchet: { 'src/usage/a.ts': 409 } })
  caught(/has shrunk to 410/, planted, { ratchet: { 'src/usage/a.ts': 411 } })
  caught(/within the limit/, {}, { ratchet: { 'src/usage/ledger.ts': 450 } })
})

test('names, texts, the lockfile and walks', () => {
  for (const path of ['src/usage/utils.ts', 'test/e2e/helpers/a.ts', 'src/usage/order-service.ts', 'docs/common/a.md'])
    caught(/names: ".*" says nothing/, file(path, ''))
  const slash = '/'
  for (const path of [`${slash}work/main/x`, `'${slash}home/ann/x'`, `see ${slash}tmp/abc`, `HOME=${slash}root/x`])
    caught(/a\.md:2 machine paths/, file('docs/a.md', `\n${path}\n`))
  caught(/registry hosts/, file('.npmrc', `reg=https:${slash}${slash}registry.example.org\n`))
  caught(/put off/, file('src/usage/a.ts', `// ${'TO'}${'DO'} later\n`))
  caught(/lockfile/, file('package-lock.json', '{\n  "resolved": "x"\n}\n'))
  caught(
    /walks: src\/access\/gone\.ts does not exist/,
    file('src/README.md', `${clean['src/README.md']}\`access/gone.ts\`\n`),
  )
})

test('a matrix that cannot be read is said to be so', () => {
  assert.throws(() => told_(file('src/README.md', '# nothing\n')), /has no table/)
  assert.throws(() => told_(file('src/README.md', matrix.replace('✓', 'x'))), /unknown sign "x"/)
  assert.throws(() => told_(file('src/README.md', matrix.replace('| ✓', ''))), /not a row/)
})
