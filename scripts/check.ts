/** `npm run check [-- --write]`: types, lint and format of the whole tree. */
import { resolve } from 'node:path'
import { checks, runCheck } from './checks.ts'

const root = resolve(import.meta.dirname, '..')
const results = await Promise.all(checks(root, process.argv.includes('--write')).map((check) => runCheck(root, check)))
for (const { name, ok, output, seconds } of results) {
  if (!ok) process.stdout.write(`${output}\n`)
  console.log(`${ok ? 'ok  ' : 'FAIL'}  ${name}  ${seconds.toFixed(1)} s`)
}
process.exitCode = results.every(({ ok }) => ok) ? 0 : 1
