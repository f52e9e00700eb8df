/**
 * Golden transcripts: what happens, when and why, in the situations that matter, line by line. `UPDATE=1` writes them
 * anew; whoever changes one reads it first.
 */
// test timeout: 900 s
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { scenarios } from './scenarios.ts'
import { Stage } from './stage.ts'
import { transcript } from './transcript.ts'

for (const { file, play, stage: options = {}, timeText, ...about } of scenarios)
  test(`${file}.txt`, async () => {
    const stage = new Stage(options)
    try {
      await stage.open()
      await play(stage)
    } finally {
      await stage.close()
    }
    const sinceBegin = (at: number) => elapsed(at - stage.beganAt)
    const text = transcript(stage.lines, { ...about, timeText: timeText ?? sinceBegin })
    const path = join(import.meta.dirname, `${file}.txt`)
    if (process.env.UPDATE === '1') writeFileSync(path, text)
    assert.equal(text, readFileSync(path, 'utf8'), `${file}.txt tells something else; UPDATE=1 writes it anew`)
  })

/** "  0:02.4": minutes, seconds. */
function elapsed(ms: number): string {
  const minutes = Math.floor(ms / 60_000)
  return `${String(minutes).padStart(3)}:${((ms - minutes * 60_000) / 1000).toFixed(1).padStart(4, '0')}`
}
