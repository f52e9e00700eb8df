import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Column, tableLines } from './table.ts'
import { columnsOf, cut, harmless, oneLine } from './width.ts'

const columns: Column<string[]>[] = [
  { title: 'NAME', cell: (row) => row[0]!, shrinksTo: 4 },
  { title: 'N', cell: (row) => row[1]!, right: true },
  { title: 'LAST', cell: (row) => row[2]!, shrinksTo: 4 },
]

test('columns stand under each other, numbers right, no spaces at the end', () => {
  const rows = [
    ['demo', '1/1', 'x'],
    ['a-longer-name', '10/12', ''],
  ]
  assert.deepEqual(tableLines(columns, rows, null), [
    'NAME               N  LAST',
    'demo             1/1  x',
    'a-longer-name  10/12',
  ])
})

test('wide and combining characters keep the columns straight', () => {
  const lines = tableLines(
    columns,
    [
      ['日本語', '1', 'x'],
      ['e\u0301a', '1', 'x'],
      ['👩‍🚀', '1', 'x'],
      ['abc', '1', 'x'],
    ],
    null,
  )
  assert.deepEqual(new Set(lines.slice(1).map(columnsOf)).size, 1)
  assert.equal(columnsOf('日本語'), 6)
  assert.equal(columnsOf('e\u0301a'), 2)
  assert.equal(columnsOf('👩‍🚀'), 2)
})

test('a row is never wider than the terminal, whatever is in it', () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 60 })
  fc.assert(
    fc.property(
      fc.array(fc.tuple(text, text, text), { maxLength: 5 }),
      fc.integer({ min: 1, max: 100 }),
      (rows, width) => {
        for (const line of tableLines(columns, rows, width)) {
          assert.ok(columnsOf(line) <= width, `${columnsOf(line)} columns in ${width}: ${JSON.stringify(line)}`)
          assert.ok(!line.includes('\n'))
        }
      },
    ),
  )
})

test('what may shrink is cut first, the widest of them most', () => {
  const lines = tableLines(columns, [['short', '123456', 'x'.repeat(50)]], 30)
  assert.deepEqual(lines, ['NAME        N  LAST', 'short  123456  xxxxxxxxxxxxxx…'])
})

test('colours take no room and nothing is painted where nothing is', () => {
  const painted: Column<string[]>[] = [
    { title: 'A', cell: (row) => row[0]!, paint: (text) => `\u001B[32m${text}\u001B[39m` },
    { title: 'B', cell: (row) => row[1]! },
  ]
  const lines = tableLines(
    painted,
    [
      ['ab', 'c'],
      ['', 'd'],
    ],
    null,
  )
  assert.deepEqual(lines, ['A   B', '\u001B[32mab\u001B[39m  c', '    d'])
})

test('text from elsewhere cannot move the cursor, colour the screen or turn the direction', () => {
  assert.equal(harmless('a\u001B[2Jb\u001B]0;title\u0007c\rd\u0000e\u202Ef\u009B1m'), 'abcdef1m')
  assert.equal(harmless('keeps\nlines\tand tabs'), 'keeps\nlines\tand tabs')
  assert.equal(oneLine('  two\n  lines '), 'two lines')
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: that is the point
      assert.doesNotMatch(harmless(text), /[\u0000-\u0008\u000B-\u001F\u007F-\u009F]/)
    }),
  )
})

test('cutting keeps whole characters', () => {
  assert.equal(cut('abcdef', 4), 'abc…')
  assert.equal(cut('日本語', 4), '日…')
  assert.equal(cut('abc', 3), 'abc')
  assert.equal(cut('abc', 0), '')
})
