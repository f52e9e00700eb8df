/** Engines as the version that is on the PATH: programs of a test's own that say it, say it late, or say something else. */
import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { silentLog } from '../runtime/log.ts'
import type { EngineDriver, EngineSpec, EngineType } from './contract.ts'
import { host, model as weights } from './launch.fixture.ts'
import { llamaServer } from './llamacpp/server.ts'
import { installedEngines } from './registry.installed.ts'
import { sglang } from './sglang/driver.ts'
import { vllm } from './vllm/driver.ts'

const base = mkdtempSync(join(tmpdir(), 'paddock-installed-'))
const stop = new AbortController()
after(() => {
  stop.abort()
  rmSync(base, { recursive: true, force: true })
})

let count = 0
/** A program that does this, and notes what it was asked. */
function program(does: string): { path: string; asked: () => string[]; change: (does: string) => void } {
  const path = join(base, `program-${++count}`)
  const write = (text: string) => {
    writeFileSync(path, `#!/bin/sh\necho "$@" >> '${path}.asked'\n${text}\n`)
    chmodSync(path, 0o755)
  }
  write(does)
  const asked = () => {
    try {
      return readFileSync(`${path}.asked`, 'utf8').trim().split('\n')
    } catch {
      return []
    }
  }
  const change = (text: string) => {
    write(text)
    utimesSync(path, 1, ++count)
  }
  return { path, asked, change }
}

async function installed(
  driver: EngineDriver,
  path: string,
  file = join(base, `kept-${++count}`),
): Promise<EngineDriver> {
  const own: EngineDriver = { ...driver, program: path }
  const parts = { file, log: silentLog, signal: stop.signal, timeoutMs: 2_000 }
  const found = installedEngines(new Map<EngineType, EngineDriver>([[driver.type, own]]), parts).get(driver.type)!
  await found.known?.()
  return found
}

const spec = (over: Partial<EngineSpec> = {}): EngineSpec => ({ type: 'vllm', additionalArgs: [], ...over })
const model = { format: 'safetensors' as const, contextSize: 131_072 }
const eightBit = { tuning: { eightBit: true as const } }
/** What the launch line says of 8 bit weights, which is another word before 0.24. */
function launched(driver: EngineDriver, over: Partial<EngineSpec> = {}): string | undefined {
  const { argv } = driver.launch({
    ...{ spec: spec({ ...eightBit, ...over }), model: weights, host },
    ...{ servedName: 'm', apiKey: 'key' },
  })
  return argv[argv.indexOf('--quantization') + 1]
}

test('the launch line is written for the version that is there', async () => {
  const old = await installed(vllm, program('echo 0.18.1').path)
  const late = await installed(vllm, program('echo "INFO 10:00:00 something else"; echo 0.30.0+cu129').path)
  assert.deepEqual([launched(old), launched(late)], ['fp8', 'fp8_per_tensor'])
  const ground = { adapters: false, quantization: null, gpu: 'nvidia' as const }
  assert.equal(old.tune!(eightBit.tuning, ground).args[0]![1], 'fp8')
  assert.deepEqual([old.obstacle!(), late.obstacle!()], [null, null])
})

test('newer than all that are known: as the newest', async () => {
  const driver = await installed(vllm, program('echo 1.2.0').path)
  assert.deepEqual([driver.obstacle!(), launched(driver), driver.validate(spec(), model)], [null, 'fp8_per_tensor', []])
})

test('older than the oldest: nothing is launched, and it says which is there', async () => {
  const driver = await installed(vllm, program('echo 0.11.0').path)
  assert.equal(
    driver.obstacle!(),
    'vLLM 0.11.0 is what this server has; it is known from 0.18.0 on, and nothing is launched with an older one.',
  )
})

test('a version that is asked for must be the one that is there', async () => {
  const driver = await installed(vllm, program('echo 0.30.0').path)
  assert.deepEqual(driver.validate(spec({ version: '0.30.0' }), model), [])
  assert.deepEqual(driver.validate(spec({ version: '0.27.1' }), model), [
    'engine.version: this server has vLLM 0.30.0, not 0.27.1; leave it out.',
  ])
  assert.equal(launched(driver, { version: '0.18.1' }), 'fp8_per_tensor', 'of before it changed')
})

for (const [what, does] of [
  ['does not say it in time', 'exec sleep 60'],
  ['fails', 'echo 0.30.0; exit 3'],
  ['says something else', 'echo "no version: twelve"'],
  ['cannot be run', 'kill -9 $$'],
] as const)
  test(`one that ${what} is taken for the oldest that is known`, async () => {
    const driver = await installed(vllm, program(does).path)
    assert.deepEqual([driver.obstacle!(), launched(driver)], [null, 'fp8'])
    assert.equal(launched(driver, { version: '0.30.0' }), 'fp8_per_tensor', 'unless somebody has said it')
  })

test('asked once for each file: also after a new start, and again when it has changed', async () => {
  const file = join(base, 'kept')
  const { path, asked, change } = program('echo 0.18.1')
  const first = await installed(vllm, path, file)
  await Promise.all([first.known!(), first.known!()])
  const second = await installed(vllm, path, file)
  assert.deepEqual([asked(), launched(second)], [['--version'], 'fp8'])
  change('echo 0.30.0')
  assert.equal(launched(second), 'fp8', 'not before it is asked again')
  await second.known!()
  assert.deepEqual([asked().length, launched(second)], [2, 'fp8_per_tensor'])
  writeFileSync(file, '[}')
  await installed(vllm, path, file)
  assert.equal(asked().length, 3, 'what was kept is broken')
})

test('each in its own words', async () => {
  const says = program('echo "sglang version: 0.5.8"; echo "git revision: abc"')
  assert.match((await installed(sglang, says.path)).obstacle!()!, /^SGLang 0\.5\.8 is what this server has/)
  assert.deepEqual(says.asked(), ['version'])
  // It is only told: nothing depends on it.
  const other = program('echo "version: 9100 (abc)" >&2')
  assert.equal((await installed(llamaServer, other.path)).obstacle, undefined)
})

test('one that is not there any more', async () => {
  const driver = await installed(vllm, join(base, 'nowhere'))
  assert.equal(launched(driver), 'fp8_per_tensor', 'nothing was asked')
})
