import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ageText, counted, elapsedText, momentText, parseDuration, timeShown, usdShown } from './words.ts'

test('elapsed time is exact to a tenth below a minute and never says 60.0 s', () => {
  const cases: [number, string][] = [
    [-5, '0.0 s'],
    [0, '0.0 s'],
    [449, '0.4 s'],
    [12_340, '12.3 s'],
    [59_949, '59.9 s'],
    [59_999, '1m 00s'],
    [125_000, '2m 05s'],
    [3_599_600, '1h 00m'],
    [3_725_000, '1h 02m'],
  ]
  for (const [ms, text] of cases) assert.equal(elapsedText(ms), text)
})

test('age has one unit', () => {
  const texts = [0, 999, 1000, 59_999, 60_000, 3_600_000, 86_399_999, 86_400_000 * 3].map(ageText)
  assert.deepEqual(texts, ['now', 'now', '1s', '59s', '1m', '1h', '23h', '3d'])
})

test('money shows at least cents, and two digits of what is smaller', () => {
  const cases: [number, string][] = [
    [0, '$0.00'],
    [4.41, '$4.41'],
    [20.7, '$20.70'],
    [1234.5, '$1234.50'],
    [0.5, '$0.50'],
    [0.0612, '$0.061'],
    [0.003149, '$0.0031'],
    [0.000012, '$0.000012'],
    [0.000001, '$0.000001'],
    [0.0000001, '<$0.000001'],
  ]
  for (const [usd, text] of cases) assert.equal(usdShown(usd), text)
})

test('small words', () => {
  assert.equal(counted(1, 'token'), '1 token')
  assert.equal(counted(0, 'token'), '0 tokens')
  assert.equal(momentText(38.4), '38 ms')
  assert.equal(momentText(1234), '1.2 s')
  const noon = new Date(2026, 10, 21, 12, 3, 4)
  assert.equal(timeShown(noon, new Date(2026, 10, 21, 23, 0, 0)), '12:03:04')
  assert.equal(timeShown(noon, new Date(2026, 10, 22, 1, 0, 0)), '2026-11-21 12:03:04')
})

test('times are read with their unit, and nothing else is', () => {
  const read = ['90', '90s', '10m', '1h', '30d', '1.5s'].map(parseDuration)
  assert.deepEqual(read, [90_000, 90_000, 600_000, 3_600_000, 2_592_000_000, 1500])
  for (const wrong of ['', 's', '10 m', '-1', '1w', '1e3', '١٠', '99999999']) assert.equal(parseDuration(wrong), null)
})
