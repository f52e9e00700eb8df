/** `paddock adapters`: list, add, set, rm. */
import type { Command } from 'commander'
import type { AddOptions, RemoveOptions } from './adapters.ts'
import { addLimitOptions, examples, type Talk } from './command-parts.ts'
import type { LimitOptions } from './limits.ts'

const allowDowntime = 'where its engine has to be started anew: also when nobody answers meanwhile'

export function addAdapters(program: Command, talk: Talk): void {
  const adapters = program.command('adapters').description('LoRA adapters of a deployment: list, add, set, rm')
  const list = adapters
    .command('list <deployment>')
    .alias('ls')
    .description('list the adapters of a deployment')
    .action(talk(async (session, name: string) => (await import('./adapters.ts')).listAdapters(session, name)))
  examples(list, [['paddock adapters list starter', '']])
  const add = addLimitOptions(adapters.command('add <deployment> <source>'))
    .description('add an adapter while it serves: hf:<repository>, byom:<name> or a path on the server')
    .option('--name <name>', 'what requests call it by; default: made of the source')
    .option('--force', 'whatever it says that it was trained on')
    .option('--allow-downtime', allowDowntime)
    .option('--wait', 'wait until it can be called')
    .option('--timeout <time>', 'longest wait: 90s, 10m, 1h', '10m')
    .action(
      talk(async (session, name: string, source: string, own: AddOptions) =>
        (await import('./adapters.ts')).addAdapter(session, name, source, own),
      ),
    )
  examples(add, [
    ['paddock adapters add starter /srv/adapters/pirate.gguf --wait', ''],
    ['paddock adapters add starter hf:acme/pirate-lora@v1 --name pirate', 'from the Hub'],
    ['paddock adapters add starter byom:pirate --rpm 60', 'uploaded with "paddock upload"; with a limit of its own'],
    ['paddock chat starter:pirate "Who are you?"', 'then'],
  ])
  const set = addLimitOptions(adapters.command('set <deployment> <adapter>'))
    .description('change how much may be asked of an adapter')
    .action(
      talk(async (session, name: string, adapter: string, own: LimitOptions) =>
        (await import('./adapters.ts')).changeAdapter(session, name, adapter, own),
      ),
    )
  examples(set, [['paddock adapters set starter pirate --rpm 60 --concurrency none', '']])
  const remove = adapters
    .command('rm <deployment> <adapter>')
    .description('remove an adapter; requests for it are refused from now on')
    .option('--allow-downtime', allowDowntime)
    .action(
      talk(async (session, name: string, adapter: string, own: RemoveOptions) =>
        (await import('./adapters.ts')).removeAdapter(session, name, adapter, own),
      ),
    )
  examples(remove, [['paddock adapters rm starter pirate', '']])
}
