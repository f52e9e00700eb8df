import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { figureTable } from './report.ts'
import { findBenches, main } from './run.ts'

const folder = mkdtempSync(join(tmpdir(), 'bench-'))
after(() => rmSync(folder, { recursive: true, force: true }))
before(() => {
  const bench = (name: string, body: string) =>
    writeFileSync(
      join(folder, `${name}.ts`),
      `export const bench = { name: '${name}', about: 'About ${name}.', async run(report) { ${body} } }`,
    )
  const reported = (figures: object[]) => figures.map((one) => `report(${JSON.stringify(one)});`).join('')
  bench(
    'ready',
    reported([
      { name: 'start', value: 1.2, unit: 's', target: 1.5 },
      { name: 'speed', value: 3, unit: 'x', target: 4, more: true },
      { name: 'size', value: 7, unit: 'MB' },
    ]),
  )
  bench('broken', `${reported([{ name: 'first', value: 1, unit: 's' }])} throw new Error('nginx is not installed')`)
  bench('silent', '')
  bench(
    'odd',
    "report({ name: 'ratio', value: 0 / 0, unit: 'x', target: 5 }); report({ name: 'gpu', value: null, unit: 's', why: 'no GPU here' })",
  )
  writeFileSync(join(folder, 'median.ts'), 'export const median = 1')
  writeFileSync(join(folder, 'ready.test.ts'), '')
})

async function run(...argv: string[]) {
  let text = ''
  const status = await main(argv, folder, (line) => (text += line))
  return { status, text }
}
const json = async (name: string) => JSON.parse((await run(name, '--json')).text)

test('without a name it lists', async () => {
  const { status, text } = await run()
  assert.equal(status, 0)
  assert.match(text, /broken\s+About broken\.\n.*\n\s+ready\s+About ready\./)
  assert.equal((await findBenches(folder)).length, 4)
})

test('a part that the bench does not have is told, with those that it has', async () => {
  const { status, text } = await run('ready', '--only', 'nothing')
  assert.equal(status, 2)
  assert.match(text, /"ready"|ready has no part "nothing"; it has none/)
})

test('figures keep their bounds or do not, and the status is 0 either way', async () => {
  const { figures, bench } = await json('ready')
  assert.equal(bench, 'ready')
  assert.deepEqual(figures, [
    { name: 'start', value: 1.2, unit: 's', target: 1.5, ok: true },
    { name: 'speed', value: 3, unit: 'x', target: 4, ok: false },
    { name: 'size', value: 7, unit: 'MB', target: null, ok: true },
  ])
  assert.equal((await run('ready')).status, 0)
})

test('what could not be measured says why', async () => {
  const odd = (await json('odd')).figures
  assert.deepEqual(odd[0], { name: 'ratio', value: null, unit: 'x', target: 5, ok: false, why: 'measured NaN' })
  assert.equal(odd[1].why, 'no GPU here')
  assert.deepEqual(
    (await json('broken')).figures.map((one: { why?: string }) => one.why),
    [undefined, 'nginx is not installed'],
  )
  assert.equal((await json('silent')).figures[0].why, 'the bench reported nothing')
})

test('the table is for people', async () => {
  const { text } = await run('ready')
  assert.match(
    text,
    /^About ready\.\n\nok\s+start\s+1\.2 s\s+target 1\.5 s\nmissed\s+speed\s+3 x\s+target 4 x\nok\s+size\s+7 MB$/,
  )
  assert.match(
    figureTable([{ name: 'a', value: null, unit: 's', target: null, ok: false, why: 'no GPU' }]),
    /not measured\s+a\s+—\s+no GPU/,
  )
})

test('an unknown name is answered with the list and status 2', async () => {
  const { status, text } = await run('nothing')
  assert.equal(status, 2)
  assert.match(text, /no bench "nothing".+ready/s)
})

test('half a bench is named', async () => {
  const path = join(folder, 'stray.ts')
  writeFileSync(path, 'export const bench = { name: 1 }')
  await assert.rejects(run(), /stray\.ts is not a bench/)
  rmSync(path)
})
