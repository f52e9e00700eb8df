/** Lets everything else that is due have its turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((done) => {
    setImmediate(done)
  })
}
