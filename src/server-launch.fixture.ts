/** Says how much young memory it may have, and ends. */
import { getHeapSpaceStatistics } from 'node:v8'
import { parentPort } from 'node:worker_threads'

interface Kept {
  next: Kept | null
}
let kept: Kept | null = null
let most = 0
for (let n = 0; n < 2_000_000; n++) {
  kept = { next: n % 100_000 === 0 ? null : kept }
  if (n % 10_000 === 0) most = Math.max(most, youngBytes())
}
const message = { kind: 'fatal', message: String(most) }
if (parentPort === null) process.send!(message, () => process.exit(0))
else parentPort.postMessage(message)

function youngBytes(): number {
  return getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')!.space_size
}
