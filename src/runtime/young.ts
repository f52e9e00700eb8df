/**
 * The only door to the collector of garbage. Buffers are held by short-lived objects and count as memory beside the heap,
 * by which the collector decides when to look through all of it, for 10 ms. Where many come and go it is asked to clear
 * away the young ones often enough, which takes a fraction of that and leaves everything else as it is.
 */

type Collect = (options: { type: 'minor' }) => void

/** There with `--expose-gc`. */
const collect = (globalThis as { gc?: Collect }).gc

/** Bytes of buffers that may come and go between two looks. */
const passedMaximumBytes = 4 * 1024 * 1024
let passed = 0

/** Buffers of so many bytes were made that are not needed for long. */
export function passing(bytes: number): void {
  passed += bytes
  if (passed < passedMaximumBytes) return
  passed = 0
  collect?.({ type: 'minor' })
}
