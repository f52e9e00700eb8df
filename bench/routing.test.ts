import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bounds } from '../src/gateway/routing/choose.ts'
import type { Prompt } from '../src/gateway/routing/prompt.ts'
import { beside, compare } from './routing/comparison.ts'
import { clairvoyant, leastLoad, ours } from './routing/routers.ts'
import { generated } from './routing/traffic.ts'

const arrivals = generated({ seed: 3, requests: 2_000, perSecond: 40 })
const blind = (prompt: Prompt): Prompt => ({ ...prompt, beginning: 0, blocks: new Int32Array(0) })
/** What hashing only the system prompt does: everybody is sent to the same place. */
const herd = (prompt: Prompt): Prompt => ({ ...prompt, beginning: 1, blocks: new Int32Array(0) })
const unbounded = { ...bounds, coldFactor: 1e9 }

const rows = compare(arrivals, {
  clairvoyant,
  'least load': leastLoad,
  paddock: ours(),
  blind: ours({ seen: blind }),
  'a herd': ours({ seen: herd }),
  'a herd without bounds': ours({ seen: herd, by: unbounded }),
})

test('what is served from cache comes near to what one gets that sees every cache, and first tokens come as soon', () => {
  const { hits, p99 } = beside(rows, 'paddock')
  assert.ok(hits >= 0.93, `hits are ${hits} of the clairvoyant's`)
  assert.ok(p99 < 2, `the slowest first tokens take ${p99} times as long`)
})

test('the same seed gives the same figures', () => {
  const once = () => compare(generated({ seed: 5, requests: 400, perSecond: 40 }), { paddock: ours() })
  assert.deepEqual(once(), once())
})

test('routers that are wrong are found out', () => {
  for (const name of ['least load', 'blind', 'a herd']) {
    const { hits } = beside(rows, name)
    assert.ok(hits < 0.85, `${name}: ${hits}`)
  }
  const herded = rows.find(({ name }) => name === 'a herd without bounds')!
  assert.ok(herded.hottest > 3)
  assert.ok(beside(rows, herded.name).p99 > 5)
  assert.ok(rows.find(({ name }) => name === 'a herd')!.hottest < 2, 'the bound spreads even a herd')
})
