/** A part of a server that does what its setup says: `hang` never gives its event loop back. */
import { runPart } from '../../src/server-child.ts'

runPart<{ hang: boolean }>(async ({ hang }, tell) => {
  tell({ kind: 'ready' })
  if (hang) setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0))
  return { stop: async () => {} }
})
