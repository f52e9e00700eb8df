/** The only door to turns of the event loop. */

/** When everything that has arrived by now has been looked at, and before the loop waits again. */
export function atEndOfTurn(action: () => void): void {
  setImmediate(action)
}

/** Lets everything else that is due have its turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise(atEndOfTurn)
}
