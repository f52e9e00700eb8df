/** What the lists of commands share. */
import type { Command } from 'commander'
import type { Session } from './session.ts'

/** Makes the action of a command that talks to a server. */
export type Talk = <A extends unknown[]>(
  work: (session: Session, ...args: A) => Promise<void>,
) => (...args: A) => Promise<void>

/** The options that `limitsBody` reads. */
export function addLimitOptions(command: Command): Command {
  return command
    .option('--rpm <n>', 'requests in any 60 seconds, or "none"')
    .option('--tpm <n>', 'tokens in any 60 seconds, or "none"')
    .option('--concurrency <n>', 'requests at once, or "none"')
}

/** Example lines below a command's help. */
export function examples(command: Command, list: [line: string, about: string][]): void {
  const widest = Math.max(...list.map(([line]) => line.length))
  const lines = list.map(([line, about]) => `  ${about === '' ? line : `${line.padEnd(widest)}   ${about}`}`)
  command.addHelpText('after', `\nExamples:\n${lines.join('\n')}`)
}
