/** The decode loop on a device of paper: what it is given, who ends when, what it holds. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Fault } from '../../../kernel/fault.ts'
import { Batcher, type Device, type Run, shareStep, stepTokens } from './batcher.ts'
import type { NativeSampler } from './native.ts'
import type { Sequence } from './sequences.ts'

/** Keeps the tokens of each sequence and chooses the position as the next token. */
class PaperDevice implements Device {
  readonly held = new Map<number, number[]>()
  readonly steps: number[] = []
  /** Most sequences in one step. */
  together = 0
  failures = 0
  forgetsPartly = true
  #batch: { sequence: number; position: number; tokens: number[] }[] = []
  #places: number[] = []

  init = async () => true
  initBatch(): void {
    this.#batch = []
    this.#places = []
  }
  addToBatch(sequence: number, position: number, tokens: Uint32Array, wanted: Uint32Array): Uint32Array {
    assert.equal(position, this.held.get(sequence)?.length ?? 0, 'positions follow each other')
    this.#batch.push({ sequence, position, tokens: [...tokens] })
    return wanted.map((index) => this.#places.push(position + index) - 1)
  }
  async decodeBatch(): Promise<void> {
    this.steps.push(this.#batch.reduce((sum, { tokens }) => sum + tokens.length, 0))
    this.together = Math.max(this.together, this.#batch.length)
    if (this.failures-- > 0) throw new Error('device')
    for (const { sequence, tokens } of this.#batch)
      this.held.set(sequence, [...(this.held.get(sequence) ?? []), ...tokens])
  }
  sampleToken = async (place: number) => 1_000 + this.#places[place]!
  disposeSequence(sequence: number): void {
    this.held.set(sequence, [])
  }
  removeTokenCellsFromSequence(sequence: number, from: number): boolean {
    if (this.forgetsPartly) this.held.set(sequence, this.held.get(sequence)!.slice(0, from))
    return this.forgetsPartly
  }
}

const sampler = {} as NativeSampler
const order = (sequence: Sequence, prompt: number[], tokens: number, over: Partial<Run> = {}) => {
  const seen: number[] = []
  const run: Run = {
    sequence,
    prompt: Uint32Array.from(prompt),
    sampler,
    signal: new AbortController().signal,
    begin: (cached) => seen.push(-cached),
    token: (token) => seen.push(token) <= tokens,
    ...over,
  }
  return { run, seen }
}
const numbers = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

test('a run reads its prompt in steps and writes until it is told to end', async () => {
  const device = new PaperDevice()
  const sequence: Sequence = { id: 0, cells: [] }
  const { run, seen } = order(sequence, numbers(stepTokens + 10), 3)
  await new Batcher(device, assert.fail).run(run)
  assert.deepEqual(device.steps, [stepTokens, 10, 1, 1])
  assert.equal(seen.length, 4)
  assert.deepEqual(sequence.cells, device.held.get(0))
})

test('what a sequence holds already is not computed again, but for the last token of the prompt', async () => {
  for (const forgetsPartly of [true, false]) {
    const device = new PaperDevice()
    device.forgetsPartly = forgetsPartly
    device.held.set(0, [1, 2, 3, 4, 9, 9])
    const sequence: Sequence = { id: 0, cells: [1, 2, 3, 4, 9, 9] }
    const { run, seen } = order(sequence, [1, 2, 3, 4], 1)
    await new Batcher(device, assert.fail).run(run)
    assert.equal(seen[0], forgetsPartly ? -3 : -0)
    assert.equal(device.steps[0], forgetsPartly ? 1 : 4)
    assert.deepEqual(sequence.cells, device.held.get(0))
  }
})

test('runs share steps; an abort ends one and leaves the others', async () => {
  const device = new PaperDevice()
  const batcher = new Batcher(device, assert.fail)
  const gone = new AbortController()
  const long = order({ id: 0, cells: [] }, [1, 2], 1e9, { signal: gone.signal })
  const short = order({ id: 1, cells: [] }, [5], 4, {
    token: (token) => {
      if (short.seen.push(token) === 3) gone.abort()
      return short.seen.length < 6
    },
  })
  await Promise.all([batcher.run(long.run), batcher.run(short.run)])
  assert.equal(short.seen.length, 6)
  assert.ok(long.seen.length <= 4)
  assert.equal(device.together, 2)
})

test('a failing step fails its runs and empties their sequences; failing again and again is broken', async () => {
  const device = new PaperDevice()
  const broken: string[] = []
  const batcher = new Batcher(device, (reason) => broken.push(reason))
  const sequence: Sequence = { id: 0, cells: [] }
  device.failures = 3
  for (let i = 0; i < 3; i += 1) {
    assert.equal(broken.length, 0)
    await assert.rejects(batcher.run(order(sequence, [1, 2], 5).run), (error: Fault) => error.code === 'engine_failed')
    assert.deepEqual([sequence.cells, device.held.get(0)], [[], []])
  }
  assert.deepEqual(broken, ['device'])
  await batcher.run(order(sequence, [1, 2], 5).run)
})

test('a step is divided: everyone something, nobody more than they have, never more than the step', () => {
  const ahead = fc.array(fc.integer({ min: 1, max: 2_000 }), { minLength: 1, maxLength: 64 })
  fc.assert(
    fc.property(ahead, (tokens) => {
      const shares = shareStep(tokens, stepTokens)
      const sum = shares.reduce((total, share) => total + share, 0)
      const all = tokens.reduce((total, count) => total + count, 0)
      assert.ok(shares.every((share, i) => share >= 1 && share <= tokens[i]!))
      assert.ok(sum <= stepTokens)
      assert.ok(sum === all || sum > stepTokens - tokens.length, 'no room is wasted')
    }),
  )
  assert.deepEqual(shareStep([1, 1_000, 10], 101), [1, 90, 10])
})
