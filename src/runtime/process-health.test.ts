import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock, until } from './clock.ts'
import { ProcessWatch } from './process-health.ts'

/** Keeps the event loop from turning. */
function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

test('a blocked event loop is seen for what it is, and forgotten when it was long ago', async () => {
  let ahead = 0
  const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + ahead }
  const watch = new ProcessWatch(clock)
  try {
    assert.ok(watch.read().rssBytes > 10_000_000)
    await until(systemClock, 'something is measured', 5_000, () => watch.read().loopDelayMs)
    const nextRound = (is: (maxMs: number) => boolean) => () => {
      ahead += 10_000
      const { loopDelayMs } = watch.read()
      return loopDelayMs !== null && is(loopDelayMs.max)
    }
    block(300)
    // The look that was due meanwhile is taken in the next turn.
    await systemClock.sleep(1)
    await until(
      systemClock,
      'the delay is seen',
      5_000,
      nextRound((maxMs) => maxMs >= 250),
    )
    await until(
      systemClock,
      'a round without it',
      20_000,
      nextRound((maxMs) => maxMs < 250),
    )
  } finally {
    watch.stop()
  }
})
