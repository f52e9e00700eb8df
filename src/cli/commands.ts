/** The list of commands with their options and examples. Adding one = a file for what it does and an entry here. */
import { Argument, type Command, Option } from 'commander'
import { addAdapters } from './adapter-commands.ts'
import type { ChatOptions } from './chat.ts'
import { addLimitOptions, examples, type Talk } from './command-parts.ts'
import type { DeployOptions } from './deploy.ts'
import type { Doors, GlobalOptions } from './doors.ts'
import type { HubTokenOptions } from './hub-token.ts'
import { addLifecycle } from './lifecycle-commands.ts'
import { addKeyChanges, addLimits, highestPriority } from './limit-commands.ts'
import type { LimitOptions } from './limits.ts'
import { addModels } from './model-commands.ts'
import type { Screen } from './screen.ts'
import type { TopOptions } from './top.ts'
import type { UploadOptions } from './upload.ts'

const engines = ['auto', 'llamacpp', 'llama-server', 'vllm', 'sglang', 'simulated']
const presets = ['speed', 'latency', 'cost', 'balanced']
const roles = ['owner', 'admin', 'developer', 'billing', 'viewer', 'scoped']

export function addCommands(program: Command, screen: Screen, doors: Doors, setStatus: (status: number) => void): void {
  const options = () => program.opts<GlobalOptions>()
  addServe(program, options, doors, setStatus)
  addDemo(program, screen, options, setStatus)
  const talk: Talk =
    (work) =>
    async (...args) => {
      const { openSession } = await import('./session.ts')
      const session = await openSession(screen, options())
      try {
        await work(session, ...args)
      } finally {
        session.interruption.release()
      }
    }
  addDeploy(program, talk)
  addLooks(program, talk)
  addChat(program, talk)
  addLifecycle(program, talk)
  addLimits(program, talk)
  addRm(program, talk)
  addAccess(program, talk)
  addCatalogue(program, talk)
  addModels(program, talk, { engines, presets })
  addPresets(program, talk)
  addAdapters(program, talk)
}

function addServe(
  program: Command,
  options: () => GlobalOptions,
  doors: Doors,
  setStatus: (status: number) => void,
): void {
  const serve = program
    .command('serve')
    .description('run a server until Ctrl-C')
    .option('--host <address>', 'address to listen on (PADDOCK_HOST; default 127.0.0.1)')
    .addOption(
      new Option(
        '--fleet <fleet>',
        'hardware to offer: what this machine has, every GPU type as slots on it, or made up',
      ).choices(['local', 'emulated', 'simulated']),
    )
    .option('--config <file>', 'settings as YAML or JSON')
    .option('--public-url <url>', 'address under which clients reach this server')
    .option('--database-url <url>', 'Postgres to use instead of the embedded one (DATABASE_URL)')
    .option('--keep-engines', 'leave engines running at shutdown, for the next start to adopt')
    .option('--log-level <level>', 'debug, info, warn, error or silent')
    .option('--stop-with-parent', 'stop when standard input closes, as it does when whoever started this ends')
    .action(async (own: ServeOptions) => {
      const { runServer, serveFlags, stopWithParent } = await import('./serve.ts')
      if (own.stopWithParent) stopWithParent()
      setStatus(await runServer(() => doors.serve(serveFlags(options(), own))))
    })
  examples(serve, [
    ['paddock serve', 'on http://127.0.0.1:8080, data in ~/.paddock'],
    ['paddock serve --port 9000 --data ./data', 'somewhere else'],
    ['paddock serve --fleet emulated', 'with slots for every GPU type, for trying out'],
    ['paddock serve --fleet simulated', 'with made-up hardware and engines, see docs/operate/simulated.md'],
  ])
}

export interface ServeOptions {
  host?: string
  fleet?: string
  config?: string
  publicUrl?: string
  databaseUrl?: string
  keepEngines?: boolean
  logLevel?: string
  stopWithParent?: boolean
}

function addDemo(
  program: Command,
  screen: Screen,
  options: () => GlobalOptions,
  setStatus: (status: number) => void,
): void {
  const demo = program
    .command('demo')
    .description('start a server, deploy a model, talk to it: all on this machine, nothing else needed')
    .option('--exit', 'tear everything down at the end, leaving nothing behind')
    .action(async (own: { exit?: boolean }) => {
      const { demo } = await import('./demo/demo.ts')
      setStatus(await demo(screen, { exit: own.exit === true, port: options().port, data: options().data }))
    })
  examples(demo, [
    ['paddock demo', 'stays until Ctrl-C; data in ~/.paddock-demo'],
    ['paddock demo --exit', 'once through, then nothing is left'],
    ['paddock demo --port 9000', 'on another port'],
  ])
}

function addDeploy(program: Command, talk: Talk): void {
  const deploy = program
    .command('deploy <model>')
    .description('create a deployment')
    .option('--name <name>', 'its name; default: made from the model')
    .option('--gpu <type>', 'hardware type, see "paddock gpus"; default: cpu, or that of the preset')
    .option('--count <n>', 'units of that hardware per replica')
    .option('--region <region>', 'where; default: anywhere')
    .option('--hardware <list>', 'in order of preference: h100:2@nyc2,mi300x; instead of the three above')
    .option('--max-hourly <usd>', 'what an hour of all replicas may cost; dearer hardware is passed over')
    .option('--fail-fast', 'refuse rather than wait for hardware')
    .option('--force', 'also where the fit check says that it will not run')
    .option('--dry-run', 'create nothing; say whether it fits and what it would cost')
    .option('--replicas <n>', 'how many replicas; default: 1, or as the preset scales')
    .addOption(new Option('--preset <preset>', 'what to make of it, see "paddock presets"').choices(presets))
    .option('--schedule <file>', 'windows of time, as JSON; "-": standard input')
    .option('--expires <when>', 'end of its lease: 8h, 30d, 2027-01-31T18:00:00+01:00')
    .addOption(new Option('--engine <engine>', 'inference engine; default: chosen by the model').choices(engines))
    .option('--engine-version <version>', 'for which its launch line is written; default: the newest that is known')
    .option('--engine-args <arguments>', 'further arguments of the engine: "--enforce-eager --seed 7"')
    .option('--max-model-len <tokens>', 'context per sequence')
    .option('--max-num-seqs <n>', 'sequences at once')
    .option('--adapter <[name=]source...>', 'LoRA adapters: hf:<repository>, byom:<name> or a path on the server')
    .option('--wait', 'wait until it answers')
    .option('--timeout <time>', 'longest wait: 90s, 10m, 1h', '10m')
    .action(
      talk(async (session, model: string, own: DeployOptions) =>
        (await import('./deploy.ts')).deploy(session, model, own),
      ),
    )
  examples(deploy, [
    ['paddock deploy paddock/starter --wait', 'on this machine’s CPU'],
    ['paddock deploy llama-3.3-70b-instruct --name prod --gpu h100 --replicas 2', ''],
    ['paddock deploy llama-3.3-70b-instruct --hardware h100@nyc2,h100,mi300x --max-hourly 5', 'the first that is free'],
    ['paddock deploy hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF/Q4_K_M --name small', 'from the Hub'],
    ['paddock deploy /models/mine.gguf --name mine --max-model-len 8192', 'a file of yours'],
  ])
}

function addLooks(program: Command, talk: Talk): void {
  const ls = program
    .command('ls')
    .alias('list')
    .description('list deployments')
    .option('--deleted', 'also those that were deleted')
    .action(talk(async (session, own: { deleted?: boolean }) => (await import('./ls.ts')).ls(session, own)))
  examples(ls, [
    ['paddock ls', ''],
    ['paddock ls --json', 'for programs'],
  ])
  const get = program
    .command('get <name>')
    .description('show one deployment')
    .action(talk(async (session, name: string) => (await import('./ls.ts')).get(session, name)))
  examples(get, [
    ['paddock get starter', ''],
    ['paddock get starter --json', 'every field'],
  ])
  addTop(program, talk)
  const explain = program
    .command('explain <name>')
    .description('why a deployment is as it is: reasons, replicas, starts, events')
    .action(talk(async (session, name: string) => (await import('./explain.ts')).explain(session, name)))
  examples(explain, [['paddock explain starter', '']])
  const logs = program
    .command('logs <name>')
    .description('what the engines of a deployment wrote')
    .option('-n, --lines <n>', 'lines per replica', '100')
    .option('-f, --follow', 'go on until Ctrl-C')
    .action(
      talk(async (session, name: string, own: { lines: string; follow?: boolean }) =>
        (await import('./logs.ts')).logs(session, name, own),
      ),
    )
  examples(logs, [
    ['paddock logs starter -n 20', ''],
    ['paddock logs starter --follow', ''],
  ])
}

function addTop(program: Command, talk: Talk): void {
  const top = program
    .command('top [name]')
    .description('what deployments do right now: requests, first tokens, speed, errors')
    .addOption(new Option('--window <time>', 'how far back').choices(['60s', '5m', '1h']).default('60s'))
    .option('--once', 'look once; so it is as well when the output is no terminal')
    .action(
      talk(async (session, name: string | undefined, own: TopOptions) =>
        (await import('./top.ts')).top(session, name, own),
      ),
    )
  examples(top, [
    ['paddock top', 'until Ctrl-C'],
    ['paddock top starter --window 1h --once', ''],
    ['paddock top --json', 'for programs'],
  ])
}

function addChat(program: Command, talk: Talk): void {
  const chat = program
    .command('chat <name> [prompt]')
    .description('talk to a deployment; without a prompt: a conversation, or the prompt from a pipe')
    .option('--max-tokens <n>', 'longest answer')
    .option('--system <text>', 'system message')
    .option('--temperature <number>', '0 to 2')
    .option('--param <name=value>', 'a further field of the request, such as seed=7; may be repeated', collected)
    .option('--stats', 'time to first token and speed, on stderr')
    .action(
      talk(async (session, name: string, prompt: string | undefined, own: ChatOptions) =>
        (await import('./chat.ts')).chat(session, name, prompt, own),
      ),
    )
  examples(chat, [
    ['paddock chat starter "Hello"', ''],
    ['paddock chat starter', 'a conversation'],
    ['git diff | paddock chat starter --system "Review this" --stats', ''],
  ])
}

function addRm(program: Command, talk: Talk): void {
  const rm = program
    .command('rm <name>')
    .alias('delete')
    .description('tear a deployment down; its cost stops')
    .option('--wait', 'wait until it is gone')
    .option('--timeout <time>', 'longest wait: 90s, 10m, 1h', '15m')
    .action(
      talk(async (session, name: string, own: { wait?: boolean; timeout: string }) =>
        (await import('./rm.ts')).rm(session, name, own),
      ),
    )
  examples(rm, [['paddock rm starter --wait', '']])
}

function addAccess(program: Command, talk: Talk): void {
  const keys = program.command('keys').description('API keys: create, ls, get, set, revoke')
  const create = addLimitOptions(keys.command('create'))
    .description('make a key; it is printed once')
    .requiredOption('--name <name>', 'for you to recognise it')
    .addOption(new Option('--role <role>', 'what it may do; default developer').choices(roles))
    .option('--expires-in <time>', 'how long it is valid: 90s, 10m, 12h, 30d; default: for ever')
    .option('--priority <n>', highestPriority)
    .action(
      talk(async (session, own: LimitOptions & { name: string }) =>
        (await import('./keys.ts')).createKey(session, own),
      ),
    )
  examples(create, [
    ['paddock keys create --name production', ''],
    ['export PADDOCK_API_KEY=$(paddock keys create --name mine)', 'use it at once'],
  ])
  const list = keys
    .command('ls')
    .alias('list')
    .description('list keys')
    .action(talk(async (session) => (await import('./keys.ts')).listKeys(session)))
  examples(list, [['paddock keys ls', '']])
  addKeyChanges(keys, talk)
  const revoke = keys
    .command('revoke <id>')
    .description('refuse a key from now on')
    .action(talk(async (session, id: string) => (await import('./keys.ts')).revokeKey(session, id)))
  examples(revoke, [['paddock keys revoke key_0mhx3k2v9ab3d5f7h9k1', '']])
  addOrgs(program, talk)
}

function addOrgs(program: Command, talk: Talk): void {
  const orgs = program.command('orgs').description('organisations: create, ls, quota (operator only), hf-token')
  const create = orgs
    .command('create <name>')
    .description('make an organisation')
    .action(talk(async (session, name: string) => (await import('./keys.ts')).createOrg(session, name)))
  examples(create, [['paddock orgs create Acme', '']])
  const list = orgs
    .command('ls')
    .alias('list')
    .description('list organisations')
    .action(talk(async (session) => (await import('./keys.ts')).listOrgs(session)))
  examples(list, [['paddock orgs ls', '']])
  addHubToken(orgs, talk)
  const quota = orgs
    .command('quota <org> <gpus>')
    .description('set how many GPUs an organisation may hold; "default": as the server’s setting says')
    .action(talk(async (session, id: string, gpus: string) => (await import('./keys.ts')).setQuota(session, id, gpus)))
  examples(quota, [
    ['paddock orgs quota org_0mhx3k2v9ab3d5f7h9k1 16', ''],
    ['paddock orgs quota org_default default', ''],
  ])
}

function addHubToken(orgs: Command, talk: Talk): void {
  const token = orgs
    .command('hf-token <org>')
    .description('the token with which an organisation reads from the Hub; without options: whether there is one')
    .option('--set', 'set it, from standard input or HF_TOKEN')
    .option('--remove', 'remove it')
    .action(
      talk(async (session, org: string, own: HubTokenOptions) =>
        (await import('./hub-token.ts')).hubToken(session, org, own),
      ),
    )
  examples(token, [
    ['paddock orgs hf-token org_default --set < token.txt', ''],
    ['paddock orgs hf-token org_default', 'whose it is; the token itself is shown to nobody'],
  ])
}

function addCatalogue(program: Command, talk: Talk): void {
  const gpus = program
    .command('gpus')
    .description('list hardware types with prices')
    .action(talk(async (session) => (await import('./catalogue.ts')).gpus(session)))
  examples(gpus, [['paddock gpus', '']])
  const upload = program
    .command('upload <file>')
    .description('upload a GGUF file as a model of your own; the same command again goes on after an interruption')
    .option('--name <name>', 'deployed and called as byom:<name>; default: from the name of the file')
    .option('--deployment <name>', 'a deployment on llama.cpp that rolls to it when it is ready')
    .option('--no-wait', 'do not wait until it is ready')
    .action(
      talk(async (session, file: string, own: UploadOptions) =>
        (await import('./upload.ts')).upload(session, file, own),
      ),
    )
  examples(upload, [['paddock upload my-finetune-7b.gguf --name my-model-v2', 'then: paddock deploy byom:my-model-v2']])
}

function addPresets(program: Command, talk: Talk): void {
  const list = program
    .command('presets')
    .description('list presets; apply one: what it sets, sent at once')
    .action(talk(async (session) => (await import('./presets.ts')).presets(session)))
  const apply = list
    .command('apply')
    .description('set scaling and hardware of a deployment as the preset has them')
    .argument('<name>')
    .addArgument(new Argument('<preset>').choices(presets))
    .option('--keep-hardware', 'leave its hardware as it is')
    .option('--force', 'also where the fit check says that it will not run')
    .action(
      talk(async (session, name: string, preset: string, own: { keepHardware?: boolean; force?: boolean }) =>
        (await import('./presets.ts')).applyPreset(session, name, preset, own),
      ),
    )
  examples(apply, [
    ['paddock presets apply starter cost --keep-hardware', 'asleep while nobody asks'],
    ['paddock presets apply prod speed', 'rolls to its hardware'],
  ])
  examples(list, [['paddock presets', '']])
}

function collected(value: string, before: string[] = []): string[] {
  return [...before, value]
}
