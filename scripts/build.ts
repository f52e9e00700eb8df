/**
 * `npm run build`: JavaScript for a release in `dist/`. With `-- --pack [FOLDER]` also the package itself, a file
 * `paddock-<version>.tgz` in FOLDER (default `dist/`).
 */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { compile } from './compile.ts'
import { pack } from './release.ts'

const root = resolve(import.meta.dirname, '..')
const options = { pack: { type: 'boolean' }, help: { type: 'boolean' } } as const
const { values, positionals } = parseArgs({ allowPositionals: true, options })
if (values.help || positionals.length > 1 || (positionals.length > 0 && !values.pack)) {
  console.log('Usage: npm run build [-- --pack [FOLDER]]')
  process.exit(values.help ? 0 : 2)
}

const began = performance.now()
const problem = compile(root)
if (problem !== null) {
  console.error(problem)
  process.exit(1)
}
console.log(`Built dist/ in ${((performance.now() - began) / 1000).toFixed(1)} s.`)
if (values.pack) console.log(`Packed ${pack(root, resolve(positionals[0] ?? `${root}/dist`))}.`)
