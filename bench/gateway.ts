/**
 * The gateway with everything on, against nginx with `proxy_pass` in the same run, on the same engine, with the same
 * clients, in turns; other gateways that can be had here beside them. nginx and most of the others only pass bytes on:
 * ours also authenticates, limits, routes, rewrites, meters and writes down.
 */
import { existsSync } from 'node:fs'
import { comparison, type Rows } from './gateway/comparison.ts'
import { type Asked, cost, type Front } from './gateway/cost.ts'
import { disturbance, largePrompts, upload } from './gateway/disturbance.ts'
import { temporaryFolder } from './gateway/folder.ts'
import { boundsMs, frontier } from './gateway/frontier.ts'
import { added } from './gateway/latency.ts'
import { findNginx, startNginx } from './gateway/nginx.ts'
import { quantile } from './gateway/numbers.ts'
import { startPortkey } from './gateway/peers.ts'
import { type Helper, startHelper } from './gateway/process.ts'
import { startSink } from './gateway/sink.ts'
import { aborts, lossFree, memoryWith, pin } from './gateway/streams.ts'
import { median } from './median.ts'
import type { Bench, Measured } from './report.ts'

type Report = (measured: Measured) => void
type Ends = (() => Promise<void>)[]

const plain: Asked = { connections: 16, requests: 3_000, stream: null }
const streamed: Asked = { connections: 200, requests: 200, stream: { events: 100, paceMs: 20 } }
/** Until the compiler of the gateway's process has nothing left to do. */
const warmUp: Asked = { ...plain, requests: 24_000 }
const streamCounts = [100, 200, 300, 400, 500, 600, 700, 800]
const gigabyte = 1024 ** 3

/** Everything that a section needs. */
interface World {
  fronts: Map<string, Front>
  own: Front
  engine: Helper
  enginePort: number
  load: Helper
  secondLoad: Helper
  report: Report
  rows: Rows
  quick: boolean
}

export const bench: Bench = {
  name: 'gateway',
  about: 'The gateway with everything on, beside nginx proxy_pass and other gateways in the same run',
  run: async (report, { quick, show }) => {
    const program = findNginx()
    const linux = existsSync('/proc/self/schedstat')
    if (program === null || !linux) {
      const why = program === null ? 'nginx is not installed (apt-get install nginx)' : 'needs Linux'
      report({ name: 'plain request ÷ nginx', value: null, unit: '×', target: 4, why })
      return
    }
    const ends: Ends = []
    try {
      const world = await startWorld(program, ends, { report, quick })
      for (const section of [costs, latencies, frontiers, memory, hangUps, disturbances, manyStreams])
        await section(world)
      show(comparison(world.rows, [...world.fronts.keys()]))
    } finally {
      for (const end of ends.reverse()) await end()
    }
  },
}

async function startWorld(
  program: string,
  ends: Ends,
  { report, quick }: Pick<World, 'report' | 'quick'>,
): Promise<World> {
  const start = async (module: string, setup: object = {}) => {
    const { helper, started } = await startHelper<{ port: number }>(module, setup)
    ends.push(helper.end)
    return { helper, port: started.port }
  }
  const engine = await start('./engine.ts')
  const load = (await start('./load.ts')).helper
  const secondLoad = (await start('./load.ts')).helper
  const nginx = await startNginx(program, engine.port)
  ends.push(nginx.end)
  const sink = await startSink(temporaryFolder(ends))
  ends.push(sink.end)
  const setup = { upstreamPort: engine.port, journal: temporaryFolder(ends), control: sink.path }
  const { helper, port } = await start('./front.ts', setup)
  const own: Front = { pid: helper.pid, port }
  const fronts = new Map<string, Front>([
    ['nginx', nginx],
    ['Paddock', own],
  ])
  const portkey = quick ? 'left out of the quick form' : await startPortkey(engine.port, ends)
  if (typeof portkey === 'string') report({ name: 'Portkey', value: null, unit: '', why: portkey })
  else fronts.set('Portkey', portkey)
  for (const front of fronts.values()) await cost(load, front, quick ? plain : warmUp)
  return { fronts, own, engine: engine.helper, enginePort: engine.port, load, secondLoad, report, rows: [], quick }
}

async function costs(world: World): Promise<void> {
  const { fronts, load, report, rows, quick } = world
  for (const { name, what, target, rounds } of [
    { name: 'plain request', what: plain, target: 4, rounds: 5 },
    { name: 'streamed event', what: streamed, target: 2, rounds: 3 },
  ]) {
    const each = new Map<string, number[]>([...fronts.keys()].map((front) => [front, []]))
    for (let round = 0; round < (quick ? 1 : rounds); round++)
      for (const [front, at] of fronts) each.get(front)!.push(await cost(load, at, what))
    const nginx = each.get('nginx')!
    rows.push({
      name: `CPU per ${name}`,
      unit: 'µs',
      values: new Map([...each].map(([front, all]) => [front, median(all)])),
    })
    for (const [front, all] of each) {
      if (front === 'nginx') continue
      const ratio = median(all.map((one, round) => one / nginx[round]!))
      report({
        name: `${front}: CPU per ${name} ÷ nginx`,
        value: ratio,
        unit: '×',
        ...(front === 'Paddock' ? { target } : {}),
      })
    }
  }
}

async function latencies({ fronts, load, enginePort, report, rows, quick }: World): Promise<void> {
  const all = await added(load, fronts, enginePort, quick ? 1 : 5)
  const nginx = all.get('nginx')!
  const own = all.get('Paddock')!
  const texts = { p50: 'added p50, one client', p99: 'added p99, one client', firstP99: 'added p99 of the first event' }
  const beyond = { p50: 0.3, p99: 1, firstP99: 1 }
  for (const key of ['p50', 'p99', 'firstP99'] as const) {
    rows.push({ name: texts[key], unit: 'ms', values: new Map([...all].map(([front, one]) => [front, one[key]])) })
    report({ name: `${texts[key]} − nginx's`, value: own[key] - nginx[key], unit: 'ms', target: beyond[key] })
  }
}

async function frontiers({ fronts, load, report, rows, quick }: World): Promise<void> {
  const all = new Map<string, Awaited<ReturnType<typeof frontier>>>()
  for (const [front, at] of fronts) all.set(front, await frontier(load, at, quick ? 500 : 3_000))
  boundsMs.forEach((bound, n) => {
    const values = new Map([...all].map(([front, { within }]) => [front, within[n]!]))
    rows.push({ name: `requests/s with p99 ≤ ${bound} ms`, unit: '/s', values })
  })
  const share = (all.get('Paddock')!.best / all.get('nginx')!.best) * 100
  report({ name: 'requests/s, all on this machine, ÷ nginx', value: share, unit: '%', target: 25, more: true })
}

async function memory({ fronts, load, rows }: World): Promise<void> {
  const values = new Map<string, number>()
  for (const [front, at] of fronts) values.set(front, await memoryWith(load, at, 500))
  rows.push({ name: 'memory with 500 streams', unit: 'MB', values })
}

async function hangUps({ fronts, load, engine, report, rows, quick }: World): Promise<void> {
  const values = new Map<string, number>()
  for (const [front, at] of fronts) values.set(front, quantile(await aborts(load, engine, at, quick ? 5 : 30), 0.99))
  rows.push({ name: 'client gone → engine let go, p99', unit: 'ms', values })
  report({ name: 'client gone → engine let go, p99', value: values.get('Paddock')!, unit: 'ms', target: 20 })
}

async function disturbances({ own, load, secondLoad, report }: World): Promise<void> {
  const prompts = await disturbance(load, own, (stop) => largePrompts(secondLoad, own, stop))
  report({ name: 'prompts of 1 MB: other streams, p99 between events', value: prompts, unit: 'ms', target: 5 })
  let sent = 0
  const uploads = await disturbance(load, own, async (stop) => {
    while (!stop.aborted) sent += await upload(own, gigabyte, stop)
  })
  report({ name: 'upload of 1 GB: other streams, p99 between events', value: uploads, unit: 'ms', target: 5 })
  report({ name: 'uploaded meanwhile', value: sent / 1024 ** 2, unit: 'MB' })
}

/** Last, because it binds processes to cores. */
async function manyStreams({ fronts, engine, load, report, rows, quick }: World): Promise<void> {
  for (const { pid } of [engine, load]) pin(pid, 0)
  const values = new Map<string, number>()
  for (const [front, at] of fronts) {
    pin(at.pid, 1)
    values.set(front, await lossFree(load, at, quick ? [100, 500] : streamCounts, quick ? 100 : 250))
  }
  rows.push({ name: 'streams of 50 events/s without loss, one core', unit: '', values })
  report({
    name: 'streams of 50 events/s without loss, one core',
    value: values.get('Paddock')!,
    unit: '',
    target: 500,
    more: true,
  })
}
