/** The commands that stop, start, roll and scale a deployment. */
import { type Command, Option } from 'commander'
import { examples, type Talk } from './command-parts.ts'
import type { LifecycleVerb, VerbOptions } from './lifecycle.ts'
import type { ScaleOptions } from './scale.ts'

const verbs: Record<LifecycleVerb, { about: string; waits: string; timeout: string }> = {
  stop: {
    about: 'free the hardware of a deployment and end its cost; its settings stay',
    waits: 'wait until it is stopped',
    timeout: '15m',
  },
  start: { about: 'bring a stopped or failed deployment back', waits: 'wait until it answers', timeout: '10m' },
  restart: {
    about: 'replace the replicas of a deployment by new ones, without a gap where there is room',
    waits: 'wait until the new ones have taken over',
    timeout: '15m',
  },
  wake: { about: 'wake a sleeping deployment', waits: 'wait until it answers', timeout: '10m' },
  sleep: {
    about: 'put a deployment to sleep; the next request wakes it',
    waits: 'wait until its hardware is free',
    timeout: '15m',
  },
}

const allowDowntime = 'also where nobody answers for longer than requests are held'

export function addLifecycle(program: Command, talk: Talk): void {
  for (const verb of Object.keys(verbs) as LifecycleVerb[]) {
    const { about, waits, timeout } = verbs[verb]
    const command = program
      .command(`${verb} <name>`)
      .description(about)
      .option('--wait', waits)
      .option('--timeout <time>', 'longest wait: 90s, 10m, 1h', timeout)
      .action(
        talk(async (session, name: string, own: VerbOptions) =>
          (await import('./lifecycle.ts')).runVerb(session, verb, name, own),
        ),
      )
    if (verb === 'restart') command.option('--allow-downtime', allowDowntime)
    if (verb === 'start' || verb === 'wake') command.option('--fail-fast', 'refuse rather than wait for hardware')
    examples(command, [
      [`paddock ${verb} starter`, ''],
      [`paddock ${verb} starter --wait`, waits.replace(/^wait/, 'and wait')],
    ])
  }
  addRollback(program, talk)
  addScale(program, talk)
}

function addRollback(program: Command, talk: Talk): void {
  const rollback = program
    .command('rollback <name>')
    .description('go back to the settings of an earlier revision')
    .option('--to <revision>', 'which one; default: the newest before the current one that worked')
    .option('--allow-downtime', allowDowntime)
    .option('--wait', 'wait until it has taken over')
    .option('--timeout <time>', 'longest wait: 90s, 10m, 1h', '15m')
    .action(
      talk(async (session, name: string, own: VerbOptions & { to?: string }) =>
        (await import('./lifecycle.ts')).rollback(session, name, own),
      ),
    )
  examples(rollback, [
    ['paddock rollback starter --wait', 'the one before'],
    ['paddock rollback starter --to 3', ''],
  ])
}

function addScale(program: Command, talk: Talk): void {
  const scale = program
    .command('scale <name>')
    .description('how many replicas, and by what they follow the load; without options: show it')
    .option('--replicas <n>', 'exactly that many; the same as --off --min <n>')
    .option('--min <n>', 'at least that many while awake; 0: may sleep')
    .option('--max <n>', 'at most that many')
    .option('--to-zero', 'sleep while nobody asks; the next request wakes it')
    .option('--no-to-zero', 'never sleep')
    .option('--idle <time>', 'quiet time before it sleeps: 90s, 10m, 1h')
    .option('--cooldown <time>', 'wait before a replica is taken away')
    .option('--inactive <time>', 'quiet time, in minutes, before it is stopped; 0: never')
    .addOption(new Option('--policy <policy>', 'what it follows').choices(['steps', 'target', 'slo']))
    .option('--concurrency <n>', 'requests at once that one replica carries well')
    .option('--schedule <file>', 'windows of time, as JSON; "-": standard input')
    .option('--no-schedule', 'take its schedule away')
    .option('--expires <when>', 'end of its lease: 8h, 30d, 2027-01-31T18:00:00+01:00, or never')
    .option('--on', 'follow the load')
    .option('--off', 'do not: exactly --min replicas')
    .option('--wait', 'wait until as many are ready as wanted')
    .option('--timeout <time>', 'longest wait: 90s, 10m, 1h', '15m')
    .action(
      talk(async (session, name: string, own: ScaleOptions) => (await import('./scale.ts')).scale(session, name, own)),
    )
  examples(scale, [
    ['paddock scale starter', 'how it scales, and what was decided lately'],
    ['paddock scale starter --min 1 --max 4', ''],
    ['paddock scale starter --to-zero --idle 10m', 'sleeps after ten quiet minutes'],
    ['paddock scale starter --replicas 3 --wait', 'three, whatever the load'],
    ['paddock scale starter --schedule office-hours.json --expires 30d', 'by the clock'],
  ])
}
