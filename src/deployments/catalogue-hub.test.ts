/** A catalogue id whose weights are on the Hub: pinned when it is named, and run as its entry wants it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { engineDrivers } from '../engines/registry.ts'
import { Fault } from '../kernel/fault.ts'
import { loadCatalogue } from '../models/catalogue.ts'
import { loadHardware } from '../models/hardware.ts'
import type { HubSource } from '../models/hub/pin.ts'
import type { DeploymentContext } from './context.ts'
import { pinned } from './pin.ts'
import { makeSpec } from './spec.ts'

const models = loadCatalogue({ allowPaths: [], starterStandsIn: false, hubFolder: '/hub' })
const engines = new Map(engineDrivers.map((driver) => [driver.type, driver]))
const context = { models, hardware: loadHardware({}), engines, replicasMaximum: 10 }
const l8 = 'meta-llama/llama-3.1-8b-instruct'
const wish = { name: 'x', modelId: l8, gpuType: 'h100' }
const shape = { ...models.all().find(({ id }) => id === l8)!.shape!, quantization: null, weightBytes: 16e9 }
const source = {
  ...{ kind: 'hub', repo: 'meta-llama/Llama-3.1-8B-Instruct', revision: 'main', sha: 'a'.repeat(40) },
  ...{ format: 'safetensors', entry: '', files: [], sizeBytes: 16e9, quantization: null, why: null },
  ...{ architecture: 'LlamaForCausalLM', contextSize: 131_072, shape: { ...shape, contextSize: 131_072 } },
} as HubSource

test('it is asked for under its repository’s name, with the organisation’s token', async () => {
  const asked: unknown[] = []
  const pin = async (...all: unknown[]) => {
    asked.push(all)
    return source
  }
  const whole = { ...context, pin } as unknown as DeploymentContext
  assert.deepEqual(await pinned(whole, 'org_a', wish), { ...wish, source })
  assert.deepEqual(asked, [['org_a', 'hf:meta-llama/Llama-3.1-8B-Instruct', ['safetensors', 'gguf']]])
  const other = { ...wish, modelId: 'paddock/starter' }
  assert.equal(await pinned(whole, 'org_a', other), other)
})

test('the spec keeps what it was pinned to, and has its weights made 8 bit', () => {
  const { spec, fits } = makeSpec({ ...wish, source }, context)
  assert.deepEqual([spec.modelId, spec.source?.sha], [l8, source.sha])
  assert.deepEqual([spec.engine.type, spec.engine.tuning], ['vllm', { eightBit: true }])
  assert.equal(fits[0]!.fit!.weightsGib.toFixed(1), ((16e9 * 0.57) / 1024 ** 3).toFixed(1))
})

test('the engine is told the context of the catalogue, which is less than the repository’s', () => {
  const of = (gpuType: string, engine = {}) => makeSpec({ ...wish, gpuType, source, engine }, context).spec
  assert.deepEqual([of('h100').engine.maxModelLen, of('h100').contextChosen], [16_384, true])
  assert.equal(of('cpu').engine.maxModelLen, 16_384, 'where nothing is checked, too')
  assert.deepEqual([of('h100', { maxModelLen: 4096 }).engine.maxModelLen], [4_096])
  const whole = makeSpec(
    { ...wish, modelId: 'meta-llama/llama-3.3-70b-instruct', gpuType: 'mi300x_8', source },
    context,
  )
  assert.equal(whole.spec.engine.maxModelLen, undefined)
})

test('a preset goes beside it, and an engine without the words is left alone', () => {
  const preset = makeSpec({ ...wish, source, engine: { tuning: { batch: 'many' } } }, context)
  assert.deepEqual(preset.spec.engine.tuning, { batch: 'many', eightBit: true })
  const seeing = 'meta-llama/llama-4-scout-17b-16e-instruct'
  const large = makeSpec({ ...wish, modelId: seeing, gpuType: 'mi300x_8', source: { ...source, repo: 'x/y' } }, context)
  assert.deepEqual([large.spec.engine.type, large.spec.engine.tuning], ['sglang', undefined])
  assert.match(large.spec.engineWhy, /^sglang, because the model reads pictures beside text\./)
})

test('what was not pinned is not created, and may be looked at', () => {
  assert.throws(
    () => makeSpec(wish, context),
    (thrown: Fault) => thrown instanceof Fault && thrown.code === 'conflict',
  )
  assert.equal(makeSpec(wish, { ...context, unpinned: true }).fits[0]!.fit!.verdict, 'fits')
  const none = { ...context, engines: new Map([...engines].filter(([type]) => type === 'llamacpp')), unpinned: true }
  assert.throws(() => makeSpec(wish, none), /The engine vllm, which is for this model because .* cannot run/)
  const told = makeSpec(wish, { ...none, anyEngine: true })
  assert.deepEqual([told.missing?.code, told.fits[0]!.fit!.verdict], ['engine_not_available', 'fits'])
})
