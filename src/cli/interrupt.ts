/** Ctrl-C and SIGTERM as an AbortSignal, so that a command can tidy its line and say what goes on without it. */
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

/** `again` is called when a second signal comes: the person does not want to wait. */
export function onInterrupt(again: (signal: NodeJS.Signals) => void = quit): Interruption {
  const controller = new AbortController()
  let first: NodeJS.Signals | null = null
  const handler = (signal: NodeJS.Signals) => {
    if (first !== null) return again(signal)
    first = signal
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
