import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import type { Fault } from '../../../kernel/fault.ts'
import { Sequences, sharedLength, waitingMaximum } from './sequences.ts'

const never = new AbortController().signal
const prompt = (...tokens: number[]) => Uint32Array.from(tokens)

test('who shares the longest beginning gets that sequence; else the least recently used', async () => {
  const sequences = new Sequences(3)
  const [a, b, c] = [
    await sequences.lend(prompt(1), never),
    await sequences.lend(prompt(2), never),
    await sequences.lend(prompt(3), never),
  ]
  a.cells.push(1, 2, 3)
  b.cells.push(1, 2, 9)
  c.cells.push(7)
  for (const sequence of [b, a, c]) sequences.giveBack(sequence)
  assert.equal(await sequences.lend(prompt(1, 2, 3, 4), never), a)
  assert.equal(await sequences.lend(prompt(5), never), b)
  assert.equal(sequences.running, 2)
  assert.equal(sequences.cellsInUse, 6)
})

test('first come, first served; one who leaves the line is skipped', async () => {
  const sequences = new Sequences(1)
  const held = await sequences.lend(prompt(1), never)
  const leaver = new AbortController()
  const order: string[] = []
  const left = sequences.lend(prompt(1), leaver.signal).catch((error: Fault) => order.push(error.code))
  const first = sequences.lend(prompt(1), never).then((sequence) => {
    order.push('first')
    return sequence
  })
  const second = sequences.lend(prompt(1), never).then(() => order.push('second'))
  leaver.abort()
  await left
  assert.equal(sequences.waiting, 2)
  sequences.giveBack(held)
  sequences.giveBack(await first)
  await second
  assert.deepEqual(order, ['client_closed', 'first', 'second'])
})

test('the line has an end', async () => {
  const sequences = new Sequences(1)
  await sequences.lend(prompt(1), never)
  for (let i = 0; i < waitingMaximum; i += 1) void sequences.lend(prompt(1), never)
  await assert.rejects(
    sequences.lend(prompt(1), never),
    (error: Fault) => error.code === 'unavailable' && error.status === 503,
  )
  await assert.rejects(sequences.lend(prompt(1), AbortSignal.abort()), (error: Fault) => error.code === 'client_closed')
})

test('shared length', () => {
  assert.equal(sharedLength([1, 2, 3], prompt(1, 2, 4)), 2)
  assert.equal(sharedLength([], prompt(1)), 0)
  assert.equal(sharedLength([1, 2], prompt(1)), 1)
})
