import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { parseNvidia, parseRocm, slugOf } from './gpus.ts'

test('nvidia-smi: one GPU a line; what is no line of its table is passed over', () => {
  const text =
    '0, NVIDIA H100 80GB HBM3, 81559\n1, NVIDIA H200, 143771\n2, NVIDIA GeForce RTX 4090, 24564\n3, NVIDIA A100-SXM4-80GB, 81920\n'
  assert.deepEqual(
    parseNvidia(text).map((gpu) => [gpu.index, gpu.slug]),
    [
      ['0', 'h100'],
      ['1', 'h200'],
      ['2', 'rtx4090'],
      ['3', 'a100-sxm4-80gb'],
    ],
  )
  assert.deepEqual(parseNvidia('No devices were found\n'), [])
  assert.deepEqual(parseNvidia(''), [])
})

test('rocm-smi: cards in JSON, warnings before it, nothing when it is none', () => {
  const text =
    'WARNING: AMD GPU device(s) is/are in a low-power state.\n{"card0": {"Card Series": "AMD Instinct MI300X"}, "card1": {"Card series": "AMD Instinct MI325X OAM"}}'
  assert.deepEqual(
    parseRocm(text).map((gpu) => [gpu.index, gpu.slug]),
    [
      ['0', 'mi300x'],
      ['1', 'mi325x'],
    ],
  )
  assert.deepEqual(parseRocm('ERROR: no device'), [])
})

test('a laptop’s RTX 4090 is another product', () => {
  assert.equal(slugOf('NVIDIA GeForce RTX 4090'), 'rtx4090')
  assert.notEqual(slugOf('NVIDIA GeForce RTX 4090 Laptop GPU'), 'rtx4090')
})
