/**
 * What a request costs our gateway in CPU, against nginx with `proxy_pass` in the same run, on the same upstream, with
 * the same clients, in turns. nginx only passes bytes on; the gateway also authenticates, resolves, rewrites and meters.
 */
import { existsSync } from 'node:fs'
import { cost } from './gateway/cost.ts'
import { temporaryFolder } from './gateway/folder.ts'
import type { Load } from './gateway/load.ts'
import { findNginx, type Nginx, startNginx } from './gateway/nginx.ts'
import { type Helper, startHelper } from './gateway/process.ts'
import { median } from './median.ts'
import type { Bench, Measured } from './report.ts'

type Report = (measured: Measured) => void

const plain = { rounds: 5, connections: 16, requests: 3_000, stream: false }
const streams = { rounds: 3, connections: 50, requests: 100, stream: true }
/** Until the compiler of the gateway's process has nothing left to do. */
const warmUp = { ...plain, requests: 24_000 }
const targetRatio = 5

interface Turns extends Omit<Load, 'port'> {
  rounds: number
}

interface Front {
  pid: number
  port: number
}

export const bench: Bench = {
  name: 'gateway',
  about: 'CPU per request of the gateway ÷ nginx proxy_pass (medians of 5 rounds in turns)',
  run: async (report) => {
    const program = findNginx()
    const why = program === null ? 'nginx is not installed' : existsSync('/proc/self/schedstat') ? null : 'needs Linux'
    if (program === null || why !== null) {
      report({ name: 'plain request ÷ nginx', value: null, unit: '×', target: targetRatio, why: why ?? '' })
      return
    }
    const ends: (() => Promise<void>)[] = []
    try {
      await measure(program, report, ends)
    } finally {
      for (const end of ends.reverse()) await end()
    }
  },
}

async function measure(program: string, report: Report, ends: (() => Promise<void>)[]): Promise<void> {
  const upstream = await startHelper<Front>('./upstream.ts')
  ends.push(upstream.helper.end)
  const load = await startHelper('./load.ts')
  ends.push(load.helper.end)
  const nginx: Nginx = await startNginx(program, upstream.started.port)
  ends.push(nginx.end)
  const own = await startHelper<Front>('./front.ts', {
    upstreamPort: upstream.started.port,
    journal: temporaryFolder(ends),
  })
  ends.push(own.helper.end)
  const gateway: Front = { pid: own.helper.pid, port: own.started.port }
  await cost(load.helper, gateway, warmUp)
  const requests = await inTurns(load.helper, nginx, gateway, plain)
  report({ name: 'nginx: CPU per plain request', value: requests.nginx, unit: 'µs' })
  report({ name: 'gateway: CPU per plain request', value: requests.gateway, unit: 'µs' })
  report({ name: 'plain request ÷ nginx', value: requests.ratio, unit: '×', target: targetRatio })
  const chunks = await inTurns(load.helper, nginx, gateway, streams)
  report({ name: 'nginx: CPU per streamed chunk', value: chunks.nginx, unit: 'µs' })
  report({ name: 'gateway: CPU per streamed chunk', value: chunks.gateway, unit: 'µs' })
  report({ name: 'streamed chunk ÷ nginx', value: chunks.ratio, unit: '×' })
}

async function inTurns(load: Helper, nginx: Front, gateway: Front, what: Turns) {
  const costs: { nginx: number[]; gateway: number[] } = { nginx: [], gateway: [] }
  for (let round = 0; round < what.rounds; round++) {
    costs.nginx.push(await cost(load, nginx, what))
    costs.gateway.push(await cost(load, gateway, what))
  }
  return {
    nginx: median(costs.nginx),
    gateway: median(costs.gateway),
    ratio: median(costs.gateway.map((one, round) => one / costs.nginx[round]!)),
  }
}
