/** The only door to time. Decisions take `now` as an argument; shells take a Clock; SQL takes times as parameters. */
export interface Clock {
  /** Milliseconds since epoch. */
  now(): number
  /** Milliseconds that never go back. */
  monotonicMs(): number
  /** Resolves after `ms`, or at once when the signal aborts (never rejects). */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve()
      const done = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      signal?.addEventListener('abort', done, { once: true })
    }),
}

/** Polls `probe` until it gives something other than null/undefined/false; throws after `withinMs` with `what`. */
export async function until<T>(
  clock: Clock,
  what: string,
  withinMs: number,
  probe: () => Promise<T> | T,
  everyMs = 25,
): Promise<Exclude<T, null | undefined | false>> {
  const deadline = clock.monotonicMs() + withinMs
  for (;;) {
    const value = await probe()
    if (value !== null && value !== undefined && value !== false) return value as Exclude<T, null | undefined | false>
    if (clock.monotonicMs() >= deadline) throw new Error(`${what}: not within ${withinMs} ms`)
    await clock.sleep(everyMs)
  }
}
