/** Folders of safetensors by path: what is read of them, and what is wrong with them. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { toFault } from '../kernel/fault.ts'
import { loadCatalogue } from './catalogue.ts'

const root = mkdtempSync(join(tmpdir(), 'paddock-folder-'))
after(() => rmSync(root, { recursive: true }))
const catalogue = loadCatalogue({ allowPaths: [root], starterStandsIn: false })

const llama = {
  architectures: ['LlamaForCausalLM'],
  num_hidden_layers: 2,
  num_attention_heads: 4,
  hidden_size: 64,
  max_position_embeddings: 4096,
  torch_dtype: 'bfloat16',
}
function folder(name: string, files: Record<string, string>): string {
  const path = join(root, name)
  mkdirSync(path)
  for (const [file, content] of Object.entries(files)) writeFileSync(join(path, file), content)
  return path
}
const json = (over: object) => JSON.stringify({ ...llama, ...over })

test('format, size, context and how the weights are stored', () => {
  const path = folder('good', { 'config.json': json({}), 'a.safetensors': '12', 'b.safetensors': '345', 'c.bin': 'xx' })
  const { files, named, emulated } = catalogue.resolve(path)
  const want = { modelId: path, format: 'safetensors', path, sizeBytes: 5, contextSize: 4096, quantization: null }
  assert.deepEqual([files, named.format, named.shape?.layers, emulated], [want, 'safetensors', 2, false])
  const quantized = json({ quantization_config: { quant_method: 'awq', bits: 4, group_size: 128 } })
  const awq = folder('awq', { 'config.json': quantized, 'a.safetensors': '' })
  assert.equal(catalogue.resolve(awq).files.quantization, 'awq')
})

const bad: [what: string, files: Record<string, string>, code: string, says: RegExp][] = [
  ['empty', {}, 'model_file_unreadable', /no safetensors files/],
  ['pickled', { 'config.json': json({}), 'pytorch_model.bin': 'x' }, 'model_file_unreadable', /no safetensors files/],
  ['without a config', { 'a.safetensors': 'x' }, 'model_file_unreadable', /config\.json is missing/],
  ['half a config', { 'a.safetensors': 'x', 'config.json': '{"a' }, 'model_file_unreadable', /no JSON object/],
  ['a list', { 'a.safetensors': 'x', 'config.json': '[]' }, 'model_file_unreadable', /no JSON object/],
  ['no layers', { 'a.safetensors': 'x', 'config.json': '{}' }, 'model_file_unreadable', /num_hidden_layers is missing/],
  [
    'unknown',
    { 'a.safetensors': 'x', 'config.json': json({ architectures: ['Nope'] }) },
    'model_not_supported',
    /Nope/,
  ],
]
for (const [what, files, code, says] of bad)
  test(`${what}: ${code}`, () => {
    const path = folder(what, files)
    try {
      catalogue.resolve(path)
      assert.fail('it was taken')
    } catch (thrown) {
      const fault = toFault(thrown)
      assert.equal(fault.code, code, fault.message)
      assert.match(fault.message, says)
    }
  })

test('a folder outside is masked like any other path', () => {
  assert.throws(
    () => loadCatalogue({ allowPaths: [], starterStandsIn: false }).resolve(join(root, 'good')),
    /not inside/,
  )
})
