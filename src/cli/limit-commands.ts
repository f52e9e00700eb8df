/** The commands that say how much may be asked: of a deployment, with a key. */
import type { Command } from 'commander'
import { addLimitOptions, examples, type Talk } from './command-parts.ts'
import type { LimitOptions } from './limits.ts'

export const highestPriority = 'the highest x-priority that its requests may have, 0 to 4; default 0'

export function addLimits(program: Command, talk: Talk): void {
  const limits = addLimitOptions(program.command('limits <name>'))
    .description('how much may be asked of a deployment; without options: show it')
    .action(
      talk(async (session, name: string, own: LimitOptions) =>
        (await import('./limits.ts')).limits(session, name, own),
      ),
    )
  examples(limits, [
    ['paddock limits starter', ''],
    ['paddock limits starter --rpm 600 --concurrency 50', 'whoever asks'],
    ['paddock limits starter --rpm none', 'no such limit any more'],
  ])
}

export function addKeyChanges(keys: Command, talk: Talk): void {
  const get = keys
    .command('get <id>')
    .description('show a key and its limits')
    .action(talk(async (session, id: string) => (await import('./keys.ts')).getKey(session, id)))
  examples(get, [['paddock keys get key_0mhx3k2v9ab3d5f7h9k1', '']])
  const set = addLimitOptions(keys.command('set <id>'))
    .description('change the name, limits or priority of a key')
    .option('--name <name>', 'for you to recognise it')
    .option('--priority <n>', highestPriority)
    .action(
      talk(async (session, id: string, own: LimitOptions) => (await import('./keys.ts')).changeKey(session, id, own)),
    )
  examples(set, [
    ['paddock keys set key_0mhx3k2v9ab3d5f7h9k1 --rpm 60 --tpm 20000', ''],
    ['paddock keys set key_0mhx3k2v9ab3d5f7h9k1 --concurrency none --priority 2', ''],
  ])
}
