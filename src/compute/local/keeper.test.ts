/** The keeper's pure pieces: its lease, its words, the engine's output. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type Ending, whyItEnded } from './ending.ts'
import { type LeaseWatch, lookAtLease, lookEveryMs } from './lease.ts'
import { EngineOutput, tail } from './output.ts'

const folder = mkdtempSync(join(tmpdir(), 'paddock-keeper-'))
after(() => rmSync(folder, { recursive: true }))

test('a lease is held while its mark changes, and expires by time alone', () => {
  const leaseSeconds = 10
  let watch: LeaseWatch = { mark: 'a', changedAtMs: 0, missing: 0 }
  const look = (mark: string | null, nowMs: number) => {
    const result = lookAtLease(watch, mark, nowMs, leaseSeconds)
    watch = result.watch
    return result.verdict
  }
  assert.equal(look('a', 9_999), 'held')
  assert.equal(look('b', 10_500), 'held')
  assert.equal(look('b', 20_500), 'held')
  assert.equal(look('b', 20_501), 'expired')
})

test('a lease file that is missing for a moment is no reason; one that stays away is', () => {
  let watch: LeaseWatch = { mark: 'a', changedAtMs: 0, missing: 0 }
  const verdicts = [null, null, 'a', null, null, null].map((mark, n) => {
    const result = lookAtLease(watch, mark, n, 900)
    watch = result.watch
    return result.verdict
  })
  assert.deepEqual(verdicts, ['held', 'held', 'held', 'held', 'held', 'folder_gone'])
})

test('looks are ten per lease, neither idle nor busy', () => {
  assert.deepEqual([0, 2, 30, 900].map(lookEveryMs), [100, 200, 3_000, 5_000])
})

test('why an engine ended, in one sentence', () => {
  const ending: Ending = { cause: 'by_itself', code: 0, signal: null, killedAfterSeconds: null, leaseSeconds: 900 }
  const why = (changes: Partial<Ending>) => whyItEnded({ ...ending, ...changes })
  assert.match(why({}), /by itself, without an error/)
  assert.match(why({ code: 3 }), /failed with status 3/)
  assert.match(why({ code: 127 }), /could not be started/)
  assert.match(why({ code: null, signal: 'SIGSEGV' }), /SIGSEGV/)
  assert.match(why({ code: null, signal: 'SIGKILL' }), /want of memory/)
  assert.match(why({ cause: 'lease' }), /renewed its lease for 900 s/)
  assert.equal(why({ cause: 'asked', signal: 'SIGTERM' }), 'It was stopped as asked.')
  assert.match(why({ cause: 'asked', signal: 'SIGKILL', killedAfterSeconds: 5 }), /within 5 s of SIGTERM/)
})

test('output: whole lines whatever the chunks, both streams, bounded in length and number', () => {
  const path = join(folder, 'log')
  const output = new EngineOutput(path)
  const [out, err] = [output.stream(), output.stream()]
  const bytes = Buffer.from('grüße\nzwei')
  for (const byte of bytes) out(Buffer.of(byte))
  err(Buffer.from('other\r\n'))
  out(Buffer.from('\n'))
  err(Buffer.from('x'.repeat(10_000)))
  err(Buffer.from(`${'x'.repeat(10_000)}\nno newline`))
  err(null)
  out(null)
  output.close()
  const long = `${'x'.repeat(4_000)}…`
  assert.deepEqual(tail(path, 10), ['grüße', 'other', 'zwei', long, 'no newline'])
  assert.deepEqual(output.lastLines, ['grüße', 'other', 'zwei', long, 'no newline'])
  assert.deepEqual(tail(path, 2), [long, 'no newline'])
})

test('output: two files of bounded size, of which the tail is one', () => {
  const path = join(folder, 'rotated')
  const output = new EngineOutput(path, 1_000)
  const sink = output.stream()
  for (let line = 1; line <= 1_000; line++) sink(Buffer.from(`line ${line}\n`))
  output.close()
  assert.deepEqual(readdirSync(folder).filter((name) => name.startsWith('rotated')).length, 2)
  assert.ok(statSync(path).size <= 1_010 && statSync(`${path}.1`).size <= 1_010)
  assert.equal(output.lastLines.length, 50)
  const last = tail(path, 110)
  assert.equal(last.length, 110)
  assert.deepEqual([last[0], last.at(-1)], ['line 891', 'line 1000'])
  assert.deepEqual(tail(join(folder, 'none'), 5), [])
})
