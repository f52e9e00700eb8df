import assert from 'node:assert/strict'
import { test } from 'node:test'
import { journalGauges } from './gauges.ts'

test('what gateways report becomes one value each, asked for once', async () => {
  let asked = 0
  const gauges = journalGauges(async () => {
    asked += 1
    return [
      { id: 'gw_1', journal: { problem: null, bytes: 7, waiting: 0, unrecorded: 0, rejected: 2 } },
      { id: 'gw_2', journal: { problem: 'The disk is full.', bytes: 9, waiting: 3, unrecorded: 4, rejected: 0 } },
    ]
  })
  const values = await Promise.all(
    gauges.map(async ({ name, read }) => [name, (await read()).map(({ value }) => value)]),
  )
  assert.deepEqual(Object.fromEntries(values), {
    paddock_journal_writable: [1, 0],
    paddock_journal_bytes: [7, 9],
    paddock_journal_waiting_requests: [0, 3],
    paddock_journal_unrecorded_requests: [0, 4],
    paddock_journal_rejected_requests: [2, 0],
  })
  assert.equal(asked, 1)
})

test('without the database there are no values, and no failure', async () => {
  const [gauge] = journalGauges(() => Promise.reject(new Error('away')))
  assert.deepEqual(await gauge!.read(), [])
})
