import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseCron, shortestGapMinutes } from './cron.ts'

test('patterns: what they mean', () => {
  const times = (text: string) => (parseCron(text) as { times: number[] }).times
  assert.deepEqual(times('0,30 8-9 * * *'), [480, 510, 540, 570])
  assert.deepEqual(times('5/20 0 * * *'), [5, 25, 45])
  assert.deepEqual(times('*/30 */12 * * *'), [0, 30, 720, 750])
  const weekdays = (text: string) => [...(parseCron(text) as { weekdays: ReadonlySet<number> }).weekdays].sort()
  assert.deepEqual(weekdays('0 0 * * 0,7'), [0])
  assert.deepEqual(weekdays('0 0 * * FRI-SUN'), [0, 5, 6])
  assert.deepEqual(weekdays('0 0 * JAN sat'), [6])
  const gap = (text: string) => {
    const cron = parseCron(text)
    return typeof cron === 'string' ? cron : shortestGapMinutes(cron)
  }
  assert.deepEqual(['0 8 * * *', '0 8,20 * * *', '0 0 1 * *', '0 0 29 2 *', '59 23 * * 6,0', '0 0 31 1,3 *'].map(gap), [
    1440,
    720,
    28 * 1440,
    1461 * 1440,
    1440,
    59 * 1440,
  ])
})

test('patterns: what is wrong with them', () => {
  const wrong: [text: string, says: RegExp][] = [
    ['', /has 0 fields; it needs 5/],
    ['0 8 * *', /has 4 fields/],
    ['0 0 8 * * *', /has 6 fields/],
    ['@daily', /has 1 fields/],
    ['60 8 * * *', /has "60" as its minute, which must be 0 to 59$/],
    ['0 24 * * *', /"24" as its hour/],
    ['0 8 0 * *', /"0" as its day of the month, which must be 1 to 31/],
    ['0 8 * 13 *', /"13" as its month, which must be 1 to 12, or jan/],
    ['0 8 * * 8', /"8" as its day of the week, which must be 0 to 7, or sun/],
    ['0 8 * * monday', /"monday" as its day of the week/],
    ['0 8 L * *', /"L" as its day of the month/],
    ['*/0 8 * * *', /"\*\/0" as its minute/],
    ['0 9-8 * * *', /"9-8" as its hour/],
    ['0 8,, * * *', /"" as its hour/],
    ['-5 8 * * *', /"-5" as its minute/],
    ['0 8 30 2 *', /never begins/],
    ['0 8 31 4,6,9,11 *', /never begins/],
  ]
  for (const [text, says] of wrong) {
    const said = parseCron(text)
    assert.ok(typeof said === 'string', `${text} was understood`)
    assert.match(said, says)
  }
})
