/** Ctrl-C and SIGTERM as an AbortSignal, so that a command can tidy its line and say what goes on without it. */
import { systemClock } from '../runtime/clock.ts'
import { Interrupted } from './failure.ts'

export interface Interruption {
  signal: AbortSignal
  /** Throws Interrupted once a signal came. */
  check(): void
  /** As if that signal had come. */
  interrupt(signal: NodeJS.Signals): void
  /** Gives the signals back to their default meaning. */
  release(): void
}

const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP']

/** Two signals within this time are one wish: whoever ends a whole group and its leader both reaches us twice. */
const sameWishMs = 1_000

/** `again` is called when a later signal comes: the person does not want to wait. */
export function onInterrupt(again: (signal: NodeJS.Signals) => void = quit): Interruption {
  const controller = new AbortController()
  let askedMs: number | null = null
  const handler = (signal: NodeJS.Signals) => {
    const now = systemClock.monotonicMs()
    if (askedMs !== null && now - askedMs > sameWishMs) return again(signal)
    askedMs ??= now
    controller.abort(new Interrupted(signal))
  }
  for (const signal of signals) process.on(signal, handler)
  return {
    signal: controller.signal,
    check: () => controller.signal.throwIfAborted(),
    interrupt: handler,
    release: () => {
      for (const signal of signals) process.removeListener(signal, handler)
    },
  }
}

function quit(signal: NodeJS.Signals): void {
  process.exit(new Interrupted(signal).status)
}
