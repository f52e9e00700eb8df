/** Under which name each engine serves a model whose id has colons, as all of the Hub and of uploads have. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { servedNameOf } from './contract.ts'
import { host, model } from './launch.fixture.ts'
import { engineDrivers } from './registry.ts'

for (const driver of engineDrivers)
  for (const id of [
    'hf:acme/chat@v2',
    'hf:acme/chat-GGUF/Q8_0',
    'byom:mine',
    'file:/models/a.gguf',
    'qwen/qwen3-8b-fp8',
  ])
    test(`${driver.type}: ${id} is served under a name without a colon, after which some look for an adapter`, () => {
      const servedName = servedNameOf(id)
      const spec = { type: driver.type, additionalArgs: [] }
      const { argv } = driver.launch({ spec, model: { ...model, modelId: id }, host, servedName, apiKey: 'key' })
      assert.ok(argv.includes(servedName) && !servedName.includes(':'), argv.join(' '))
      assert.ok(!argv.some((one) => one.includes(id) && id !== servedName), argv.join(' '))
      const asked = driver.adapters!.ask([{ handle: 'a-1', scale: 1 }], servedName).model
      assert.ok(asked.split(':').length <= 2, asked)
    })
