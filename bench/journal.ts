/**
 * What writing requests down costs: CPU of the gateway per plain request with its journal ÷ without, in turns, on the
 * same upstream with the same clients; and how fast the ledger takes what was written.
 */
import { existsSync } from 'node:fs'
import { systemClock } from '../src/runtime/clock.ts'
import { openDatabase } from '../src/store/database.ts'
import { startTestServer } from '../src/store/testing.ts'
import { encodeRequest } from '../src/usage/journal/record.ts'
import { batchLines } from '../src/usage/journal/shipper.ts'
import { recordLines } from '../src/usage/store.ts'
import { cost } from './gateway/cost.ts'
import { temporaryFolder } from './gateway/folder.ts'
import { type Helper, startFront, startHelper } from './gateway/process.ts'
import { median } from './median.ts'
import type { Bench, Measured } from './report.ts'

type Report = (measured: Measured) => void
type Ends = (() => Promise<void>)[]

const rounds = 9
const plain = { connections: 16, requests: 3_000, stream: null }
const warmUp = { ...plain, requests: 24_000 }
const targetRatio = 1.15
const batches = 60

interface Front {
  pid: number
  port: number
}

export const bench: Bench = {
  name: 'journal',
  about:
    'CPU per request with the journal ÷ without (medians of 9 rounds in turns), and lines per second into Postgres',
  run: async (report) => {
    const ends: Ends = []
    try {
      if (existsSync('/proc/self/schedstat')) await measureGateway(report, ends)
      else report({ name: 'with journal ÷ without', value: null, unit: '×', why: 'needs Linux' })
      await measureLedger(report, ends)
    } finally {
      for (const end of ends.reverse()) await end()
    }
  },
}

async function measureGateway(report: Report, ends: Ends): Promise<void> {
  const upstream = await startHelper<Front>('./engine.ts')
  ends.push(upstream.helper.end)
  const load = await startHelper('./load.ts')
  ends.push(load.helper.end)
  const upstreamPort = upstream.started.port
  const without = await front({ upstreamPort }, ends)
  const journaled = await front({ upstreamPort, journal: temporaryFolder(ends) }, ends)
  for (const one of [without, journaled]) await cost(load.helper, one, warmUp)
  const costs = await inTurns(load.helper, without, journaled)
  report({ name: 'CPU per plain request without', value: median(costs.without), unit: 'µs' })
  report({ name: 'CPU per plain request with journal', value: median(costs.journaled), unit: 'µs' })
  const ratio = median(costs.journaled.map((one, round) => one / costs.without[round]!))
  report({ name: 'with journal ÷ without', value: ratio, unit: '×', target: targetRatio })
}

async function front(setup: object, ends: Ends): Promise<Front> {
  const { helper, started } = await startFront(setup)
  ends.push(helper.end)
  return { pid: helper.pid, port: started.port }
}

async function inTurns(load: Helper, without: Front, journaled: Front) {
  const costs: { without: number[]; journaled: number[] } = { without: [], journaled: [] }
  for (let round = 0; round < rounds; round++) {
    costs.without.push(await cost(load, without, plain))
    costs.journaled.push(await cost(load, journaled, plain))
  }
  return costs
}

/** Into a database that forces nothing to the disk: what is measured is work. */
async function measureLedger(report: Report, ends: Ends): Promise<void> {
  const server = await startTestServer()
  ends.push(server.stop)
  const db = openDatabase({ connection: server.connection, name: 'bench' })
  ends.push(() => db.close())
  const cpu = process.cpuUsage()
  const from = systemClock.monotonicMs()
  for (let batch = 0; batch < batches; batch++) await recordLines(db, linesOf(batch))
  const seconds = (systemClock.monotonicMs() - from) / 1000
  const { user, system } = process.cpuUsage(cpu)
  report({ name: 'lines into the ledger', value: (batches * batchLines) / seconds, unit: '/s' })
  report({ name: 'our own CPU per line', value: (user + system) / (batches * batchLines), unit: 'µs' })
}

function linesOf(batch: number): string[] {
  return Array.from({ length: batchLines }, (_, n) =>
    encodeRequest({
      requestId: `req_${batch}_${n}`,
      clientRequestId: null,
      deploymentId: `dep_${n % 20}`,
      orgId: 'org_bench',
      keyId: `key_${n % 50}`,
      replicaId: 'rep_bench',
      route: 'chat/completions',
      model: 'bench',
      modelId: 'bench',
      adapter: null,
      stream: n % 2 === 0,
      status: 200,
      code: null,
      usage: { promptTokens: 20, completionTokens: 60 },
      timings: { auth: 0.1, queue: 0, ttft: 10, streaming: 0, longestPause: 0, total: 200 },
      bytes: { in: 900, out: 2_000 },
      receivedAt: Date.UTC(2026, 10, 21, 12) + batch * 500 + n,
    }),
  )
}
