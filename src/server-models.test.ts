import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { loadCatalogue } from './models/catalogue.ts'
import { readOwnModels } from './server-models.ts'

const folder = mkdtempSync(join(tmpdir(), 'paddock-own-models-'))
after(() => rmSync(folder, { recursive: true }))
function put(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}
const one = { id: 'acme/support', source_repo: 'acme/support', context_size: 8192, tensor_type: 'BF16' }
const json = (...entries: object[]) => put('models.json', JSON.stringify(entries))
const policy = { allowPaths: [], starterStandsIn: true }

test('no file, JSON and YAML', () => {
  assert.deepEqual(readOwnModels(''), [])
  assert.deepEqual(readOwnModels(json(one)), [one])
  const yaml = '- id: acme/support\n  source_repo: acme/support\n  context_size: 8192\n  tensor_type: BF16\n'
  assert.deepEqual(readOwnModels(put('models.yaml', yaml)), [one])
})

test('what it names is in the catalogue, and goes before what ships', () => {
  const catalogue = loadCatalogue(policy, [one, { ...one, id: 'qwen/qwen3-8b-fp8', title: 'Ours' }])
  const of = (id: string) => catalogue.all().filter((model) => model.id === id)
  assert.deepEqual([of('acme/support').length, of('acme/support')[0]!.addedBy], [1, 'file'])
  assert.deepEqual([of('qwen/qwen3-8b-fp8').length, of('qwen/qwen3-8b-fp8')[0]!.title], [1, 'Ours'])
})

for (const [what, path, message] of [
  ['a file that is not there', () => join(folder, 'none.json'), /none\.json cannot be read: ENOENT/],
  ['no list', () => put('map.json', '{"id": "x"}'), /is no list of models/],
  ['broken text', () => put('broken.json', '[{'), /cannot be read/],
  ['an unknown field', () => json({ ...one, colour: 'red' }), /Unknown field "\[0\]\.colour"/],
  ['an id that is none', () => json({ ...one, id: 'hf:x/y' }), /\[0\]\.id/],
  ['an id of ours', () => json({ ...one, id: 'paddock/starter' }), /\[0\]\.id/],
  ['the same twice', () => json(one, one), /has acme\/support twice/],
  ['no source', () => json({ ...one, source_repo: null }), /needs a source_repo/],
  ['two sources', () => json({ ...one, path: '/x.gguf' }), /give one of them/],
  ['half of what a fit needs', () => json({ ...one, weight_bytes: 5 }), /give its config too/],
  ['a config without layers', () => json({ ...one, weight_bytes: 5, config: {} }), /num_hidden_layers is missing/],
] as const)
  test(`refused with its reason: ${what}`, () => assert.throws(() => readOwnModels(path()), message))
