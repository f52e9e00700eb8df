import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decideWorkers } from './workers.ts'

test('one core is left to the others, and there is always one worker', () => {
  const workers = [1, 2, 3, 8].map((cores) => decideWorkers({ asked: 0, cores, canSharePort: true }).workers)
  assert.deepEqual(workers, [1, 1, 2, 7])
})

test('the setting has the last word', () => {
  assert.deepEqual(decideWorkers({ asked: 3, cores: 2, canSharePort: true }), { workers: 3, notice: null })
  assert.deepEqual(decideWorkers({ asked: 1, cores: 64, canSharePort: true }), { workers: 1, notice: null })
})

test('where a port cannot be shared there is one, and it is said when there would be more', () => {
  for (const asked of [0, 4]) {
    const { workers, notice } = decideWorkers({ asked, cores: 5, canSharePort: false })
    assert.equal(workers, 1)
    assert.match(notice!, /one worker instead of 4/)
  }
  assert.deepEqual(decideWorkers({ asked: 1, cores: 5, canSharePort: false }), { workers: 1, notice: null })
  assert.deepEqual(decideWorkers({ asked: 0, cores: 2, canSharePort: false }), { workers: 1, notice: null })
})
