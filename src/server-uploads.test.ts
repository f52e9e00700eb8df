/**
 * What is called ready, llama.cpp loads: mutations of a real file go the way of an upload, and those that come through
 * are started by the real worker. 8 of them; with FULL=1: 300 (SEED=… chooses others). test timeout: 1200 s
 */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { startWorker } from './engines/llamacpp/worker/testing.ts'
import { runtimePackages } from './engines/registry.ts'
import { Fault } from './kernel/fault.ts'
import { Intake } from './models/uploads/intake.ts'
import { starterFile, tinyGguf } from './models/uploads/testing.ts'
import { packageRoot } from './runtime/self.ts'
import { trialsOf } from './server-uploads.ts'

const rounds = process.env.FULL === '1' ? 300 : 8
const folder = mkdtempSync(join(tmpdir(), 'paddock-trial-'))
const systemFolder = mkdtempSync(join('/var/tmp', 'paddock-trial-'))
after(() => {
  for (const one of [folder, systemFolder]) rmSync(one, { recursive: true, force: true })
})
mkdirSync(join(folder, 'engines'), { mode: 0o700 })
const path = join(folder, 'model.gguf')
const own = { folder: join(folder, 'engines'), instanceId: 'trial', fleet: 'local' as const }
const tryLoad = trialsOf({ ...own, systemFolder, packageRoot, node: process.execPath, runtimePackages })

function put(file: Buffer): void {
  writeFileSync(path, file, { mode: 0o644 })
}

const tried = (file: Buffer): Promise<string | null> => {
  put(file)
  return tryLoad(path, new AbortController().signal)
}

/** What its header and size say; null = nothing against it. */
function checked(file: Buffer): string | null {
  const intake = new Intake([])
  try {
    for (let at = 0; at < file.length; at += 65_536) intake.take(file.subarray(at, at + 65_536))
    intake.end()
    return null
  } catch (thrown) {
    assert.ok(thrown instanceof Fault, String(thrown))
    return thrown.message
  }
}

test('a good file passes; one that only looks good to its header does not', async () => {
  const good = starterFile()
  assert.equal(await tried(good), null)
  const renamed = Buffer.from(good)
  const at = renamed.indexOf('output_norm.weight')
  assert.ok(at > 0)
  renamed.write('output_morn.weight', at)
  assert.equal(checked(renamed), null)
  assert.notEqual(await tried(renamed), null)
  assert.notEqual(await tried(tinyGguf()), null)
})

test('an upload that is told to stop while it is tried ends at once', async () => {
  put(starterFile())
  const stop = new AbortController()
  const trial = tryLoad(path, stop.signal)
  stop.abort()
  assert.notEqual(await trial, undefined)
})

test('mutations that come through are loaded by the real worker', async () => {
  const seed = Number(process.env.SEED ?? 1)
  const random = mulberry(seed)
  const good = starterFile()
  // Its texts and its table of tensors, where most bytes mean something.
  const head = good.indexOf('output_norm.weight') + 4096
  let through = 0
  for (let round = 0; round < rounds; round += 1) {
    const file = Buffer.from(good)
    for (let n = 1 + Math.floor(random() * 3); n > 0; n -= 1)
      file[Math.floor(random() * head)] = Math.floor(random() * 256)
    if (checked(file) !== null || (await tried(file)) !== null) continue
    through += 1
    const worker = await startWorker(['--model', path, '--context', '256', '--sequences', '1']).catch(
      (error: Error) => {
        throw new Error(`round ${round} of seed ${seed} was called ready: ${error.message}`)
      },
    )
    await worker.stop()
  }
  assert.ok(through > 0, 'nothing came through: the test tests nothing')
})

/** Small, and the same everywhere. */
function mulberry(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
