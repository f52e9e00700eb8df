/** Lets buffers pass through its hands as large bodies do, says how often the whole heap was looked through, and ends. */
import { constants, type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks'
import { turn } from './runtime/turn.ts'

/** What node says of one collection; its published types leave it out. */
type Entry = PerformanceEntry & { detail: { kind: number } }

const pieceBytes = 1024 * 1024
let looks = 0
const observer = new PerformanceObserver((list) => {
  for (const { detail } of list.getEntries() as Entry[])
    if (detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) looks += 1
})
observer.observe({ entryTypes: ['gc'] })
const kept: Buffer[] = []
for (let n = 0; n < 600; n++) {
  kept.push(Buffer.alloc(pieceBytes))
  if (kept.length > 4) kept.shift()
  // Some of it lives for a few turns, with what else a request makes.
  JSON.parse(`[${'"some text",'.repeat(2_000)}0]`)
  if (n % 4 === 0) await turn()
}
await turn()
process.send!({ kind: 'fatal', message: String(looks) }, () => process.exit(0))
