import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { readArguments } from './arguments.ts'

const least = ['--model', '/m.gguf', '--port', '0', '--served-name', 's']

test('what must be given, and what the rest becomes', () => {
  const options = readArguments(least)
  assert.deepEqual(options, {
    model: '/m.gguf',
    host: '127.0.0.1',
    port: 0,
    servedName: 's',
    contextTokens: 0,
    sequences: 4,
    threads: 0,
    adapterSets: 8,
    cacheTypeK: null,
    cacheTypeV: null,
    dieWithStdin: false,
  })
  for (const missing of ['--model', '--port', '--served-name']) {
    const at = least.indexOf(missing)
    assert.throws(() => readArguments(least.toSpliced(at, 2)), new RegExp(`${missing} is missing`))
  }
})

test('wrong values are named', () => {
  for (const [flag, value] of Object.entries({
    '--port': '70000',
    '--context': '5',
    '--sequences': '0',
    '--threads': '1.5',
  }))
    assert.throws(() => readArguments([...least, flag, value]), new RegExp(flag))
  assert.throws(() => readArguments([...least, '--stranger']))
})
