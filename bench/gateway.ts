/**
 * The gateway with everything on, against nginx with `proxy_pass` in the same run, on the same engine, with the same
 * clients, in turns; other gateways that can be had here beside them. nginx and most of the others only pass bytes on:
 * ours also authenticates, limits, routes, rewrites, meters and writes down.
 */
import { existsSync } from 'node:fs'
import { comparison, type Rows } from './gateway/comparison.ts'
import { type Asked, cost, type Front, send } from './gateway/cost.ts'
import { disturbance, largePrompts, upload } from './gateway/disturbance.ts'
import { temporaryFolder } from './gateway/folder.ts'
import { boundsMs, frontier } from './gateway/frontier.ts'
import { added, oneClient } from './gateway/latency.ts'
import { findNginx, startNginx } from './gateway/nginx.ts'
import { quantile } from './gateway/numbers.ts'
import { startPortkey } from './gateway/peers.ts'
import { type Helper, startFront, startHelper } from './gateway/process.ts'
import { startSink } from './gateway/sink.ts'
import { aborts, lossFree, memoryWith, pin } from './gateway/streams.ts'
import { median } from './median.ts'
import { type Bench, isWanted, type Measured } from './report.ts'

type Report = (measured: Measured) => void
type Ends = (() => Promise<void>)[]

const plain: Asked = { connections: 16, requests: 3_000, stream: null }
/** Long enough that a neighbour's moment does not decide. */
const manyPlain: Asked = { ...plain, requests: 12_000 }
/** Enough for two: requests that come at the same moment share the cost of a turn of the event loop. */
const crowd: Asked = { ...plain, connections: 64 }
const streamed: Asked = { connections: 200, requests: 200, stream: { events: 100, paceMs: 20 } }
/** Until the compiler of the gateway's process has nothing left to do: for every front, and for ours alone. */
const warmUp: Asked = { ...plain, requests: 24_000 }
const streamWarmUp: Asked = { ...streamed, requests: 1_000 }
const streamCounts = [100, 200, 300, 400, 500, 600, 700, 800]
const gigabyte = 1024 ** 3

/** Everything that a section needs. */
interface World {
  fronts: Map<string, Front>
  own: Front
  /** The same as two workers. */
  two: Front
  engine: Helper
  enginePort: number
  load: Helper
  secondLoad: Helper
  report: Report
  rows: Rows
  quick: boolean
}

const sections: Record<string, (world: World) => Promise<void>> = {
  costs,
  workers,
  latencies,
  frontiers,
  memory,
  hangUps,
  disturbances,
  // Binds processes to cores.
  manyStreams,
}

export const bench: Bench = {
  name: 'gateway',
  about: 'The gateway with everything on, beside nginx proxy_pass and other gateways in the same run',
  parts: Object.keys(sections),
  run: async (report, { quick, only, show }) => {
    const program = findNginx()
    const linux = existsSync('/proc/self/schedstat')
    if (program === null || !linux) {
      const why = program === null ? 'nginx is not installed (apt-get install nginx)' : 'needs Linux'
      report({ name: 'plain request ÷ nginx', value: null, unit: '×', target: 4, why })
      return
    }
    const ends: Ends = []
    try {
      const world = await startWorld(program, ends, { report, quick, only })
      for (const [name, section] of Object.entries(sections)) if (isWanted(only, name)) await section(world)
      show(comparison(world.rows, [...world.fronts.keys()]))
    } finally {
      for (const end of ends.reverse()) await end()
    }
  },
}

async function startWorld(
  program: string,
  ends: Ends,
  { report, quick, only }: Pick<World, 'report' | 'quick'> & { only: readonly string[] },
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
  const first = await startFront(setup)
  ends.push(first.helper.end)
  const own: Front = { pid: first.helper.pid, port: first.started.port }
  const both = await startFront({ ...setup, journal: temporaryFolder(ends) }, 2)
  ends.push(both.helper.end)
  const two: Front = { pid: both.helper.pid, port: both.started.port }
  const fronts = new Map<string, Front>([
    ['nginx', nginx],
    ['Paddock', own],
  ])
  const portkey =
    quick || only.length > 0 ? 'left out of the quick form and of parts' : await startPortkey(engine.port, ends)
  if (typeof portkey === 'string') report({ name: 'Portkey', value: null, unit: '', why: portkey })
  else fronts.set('Portkey', portkey)
  for (const front of fronts.values()) await cost(load, front, quick ? plain : warmUp)
  if (!quick) await cost(load, own, streamWarmUp)
  return { fronts, own, two, engine: engine.helper, enginePort: engine.port, load, secondLoad, report, rows: [], quick }
}

async function costs(world: World): Promise<void> {
  const { load, report, rows, quick } = world
  for (const { name, what, target, rounds } of [
    { name: 'plain request', what: quick ? plain : manyPlain, target: 4, rounds: 7 },
    { name: 'streamed event', what: streamed, target: 2, rounds: 3 },
  ]) {
    const able = await perFront(world, `CPU per ${name}`, (front) => cost(load, front, what))
    const each = new Map<string, number[]>([...able.keys()].map((front) => [front, []]))
    for (let round = 0; round < (quick ? 1 : rounds); round++)
      for (const front of able.keys()) each.get(front)!.push(await cost(load, world.fronts.get(front)!, what))
    const nginx = each.get('nginx')!
    const values = new Map([...each].map(([front, all]) => [front, median(all)]))
    rows.push({ name: `CPU per ${name}`, unit: 'µs', values })
    for (const [front, all] of each) {
      if (front === 'nginx') continue
      const value = median(all.map((one, round) => one / nginx[round]!))
      const bound = front === 'Paddock' ? { target } : {}
      report({ name: `${front}: CPU per ${name} ÷ nginx`, value, unit: '×', ...bound })
    }
  }
}

async function workers({ own, two, load, report, quick }: World): Promise<void> {
  const ratios: number[] = []
  await cost(load, two, quick ? crowd : { ...warmUp, requests: 2 * warmUp.requests })
  for (let round = 0; round < (quick ? 1 : 5); round++) {
    const one = await cost(load, own, crowd)
    ratios.push((await cost(load, two, crowd)) / one)
  }
  report({ name: 'CPU per plain request: two workers ÷ one', value: median(ratios), unit: '×', target: 1.15 })
}

/** What each front does; a peer that cannot do it is left out of the row, with the reason among the figures. */
async function perFront<T>(
  { fronts, report }: World,
  name: string,
  work: (front: Front) => Promise<T>,
): Promise<Map<string, T>> {
  const values = new Map<string, T>()
  for (const [front, at] of fronts) {
    try {
      values.set(front, await work(at))
    } catch (error) {
      if (front === 'nginx' || front === 'Paddock') throw error
      report({ name: `${front}: ${name}`, value: null, unit: '', why: (error as Error).message })
    }
  }
  return values
}

async function latencies(world: World): Promise<void> {
  const { load, enginePort, report, rows, quick } = world
  for (const { name, asked, of, q, beyond } of oneClient) {
    const able = await perFront(world, name, (front) => send(load, front, asked))
    const fronts = new Map([...able.keys()].map((front) => [front, world.fronts.get(front)!]))
    const values = await added(load, fronts, enginePort, { asked, of, q, rounds: quick ? 1 : 5 })
    rows.push({ name, unit: 'ms', values })
    const value = values.get('Paddock')! - values.get('nginx')!
    report({ name: `${name} − nginx's`, value, unit: 'ms', target: beyond })
  }
}

async function frontiers(world: World): Promise<void> {
  const { load, report, rows, quick } = world
  const all = await perFront(world, 'requests/s', (front) => frontier(load, front, quick ? 500 : 3_000))
  boundsMs.forEach((bound, n) => {
    const values = new Map([...all].map(([front, { within }]) => [front, within[n]!]))
    rows.push({ name: `requests/s with p99 ≤ ${bound} ms`, unit: '/s', values })
  })
  const share = (all.get('Paddock')!.best / all.get('nginx')!.best) * 100
  report({ name: 'requests/s, all on this machine, ÷ nginx', value: share, unit: '%', target: 25, more: true })
}

async function memory(world: World): Promise<void> {
  const values = await perFront(world, 'memory', (front) => memoryWith(world.load, front, 500))
  world.rows.push({ name: 'memory with 500 streams', unit: 'MB', values })
}

async function hangUps(world: World): Promise<void> {
  const { load, engine, report, rows, quick } = world
  const name = 'client gone → engine let go, p99'
  const values = await perFront(world, name, async (front) =>
    quantile(await aborts(load, engine, front, quick ? 5 : 30), 0.99),
  )
  rows.push({ name, unit: 'ms', values })
  report({ name, value: values.get('Paddock')!, unit: 'ms', target: 20 })
}

async function disturbances({ own, load, secondLoad, report, quick }: World): Promise<void> {
  let sent = 0
  const prompts: number[] = []
  const uploads: number[] = []
  for (let round = 0; round < (quick ? 1 : 3); round++) {
    prompts.push(await disturbance(load, own, (stop) => largePrompts(secondLoad, own, stop)))
    uploads.push(
      await disturbance(load, own, async (stop) => {
        while (!stop.aborted) sent += await upload(own, gigabyte, stop)
      }),
    )
  }
  const between = { unit: 'ms', target: 5 }
  report({ name: 'prompts of 1 MB: other streams, p99 between events', value: median(prompts), ...between })
  report({ name: 'upload of 1 GB: other streams, p99 between events', value: median(uploads), ...between })
  report({ name: 'uploaded meanwhile, a round', value: sent / uploads.length / 1024 ** 2, unit: 'MB' })
}

async function manyStreams(world: World): Promise<void> {
  const { engine, load, report, rows, quick } = world
  for (const { pid } of [engine, load]) pin(pid, 0)
  const name = 'streams of 50 events/s without loss, one core'
  const values = await perFront(world, name, (front) => {
    pin(front.pid, 1)
    return lossFree(load, front, quick ? [100, 500] : streamCounts, quick ? 100 : 250)
  })
  rows.push({ name, unit: '', values })
  report({
    name,
    value: values.get('Paddock')!,
    unit: '',
    target: 500,
    more: true,
  })
}
