/** Lets buffers go through short-lived hands as large bodies do, says how often the collector looked after them, and ends. */
import { PerformanceObserver } from 'node:perf_hooks'
import { parentPort } from 'node:worker_threads'
import { turn } from './runtime/turn.ts'
import { passing } from './runtime/young.ts'

const pieceBytes = 1024 * 1024
let looks = 0
const observer = new PerformanceObserver((list) => {
  looks += list.getEntries().length
})
observer.observe({ entryTypes: ['gc'] })
for (let n = 0; n < 100; n++) passing(Buffer.alloc(pieceBytes).length)
await turn()
await turn()
const message = { kind: 'fatal', message: String(looks) }
if (parentPort === null) process.send!(message, () => process.exit(0))
else parentPort.postMessage(message)
