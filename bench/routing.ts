/**
 * How good routing is, and what it costs. Eight simulated engines with prefix caches that hold a third of all that is
 * asked, in simulated time: the same seed gives the same figures on every machine. Traffic is made up, and with
 * `--traces DIR` also has the arrivals and lengths of Azure's public traces of 2023 (CC-BY, Azure/AzurePublicDataset),
 * where DIR has `azure-llm-2023-conv.csv` and `azure-llm-2023-code.csv`; a trace has no texts, so which request goes on
 * from which is guessed from lengths.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { parseAsk } from '../src/gateway/parse.ts'
import { readPrompt } from '../src/gateway/routing/prompt.ts'
import { Router } from '../src/gateway/routing/router.ts'
import type { Bench, BenchOptions, Measured } from './report.ts'
import { beside, compare, table } from './routing/comparison.ts'
import { type Arrival, generated, traced } from './routing/traffic.ts'

const seed = 7
const hitTarget = 0.93
const decisions = 2_000
const rounds = 7
const promptBytes = 16 * 1024

export const bench: Bench = {
  name: 'routing',
  about:
    'Tokens from cache and time to first token on 8 simulated replicas, beside simple routers and a clairvoyant one',
  run: (report, options) => {
    for (const [title, arrivals] of traffics(options)) {
      if (arrivals === null) {
        report({ name: title, value: null, unit: '', why: 'needs --traces DIR with the trace in it' })
        continue
      }
      const rows = compare(arrivals)
      const { hits, p99 } = beside(rows, 'paddock')
      report({ name: `${title}: hits ÷ clairvoyant`, value: hits, unit: '', target: hitTarget, more: true })
      report({ name: `${title}: TTFT p99 ÷ clairvoyant`, value: p99, unit: '' })
      options.show(table(title, arrivals, rows))
    }
    measureDecision(report)
  },
}

/** As fast as keeps eight replicas busy, but not behind. */
function traffics({ quick, traces }: BenchOptions): [string, Arrival[] | null][] {
  const requests = quick ? 2_000 : 12_000
  const trace = (kind: string, perSecond: number) => {
    const file = join(traces ?? '', `azure-llm-2023-${kind}.csv`)
    return traces !== null && existsSync(file) ? traced(file, { seed, requests, perSecond }) : null
  }
  return [
    ['made up', generated({ seed, requests, perSecond: 40 })],
    ['Azure 2023 conversation', trace('conv', 35)],
    ['Azure 2023 code', trace('code', 25)],
  ]
}

/** Reading the prompt and choosing among eight, as a gateway does it for every request. */
function measureDecision(report: (measured: Measured) => void): void {
  const router = new Router()
  const replicas = Array.from({ length: 8 }, (_, i) => {
    return { id: `rep_${i}`, address: '127.0.0.1', port: 1, key: 'k', state: 'ready' as const, weight: 100 }
  })
  const calm = { inFlight: 3, load: 3, tokens: 900, answered: 50, ejected: false, room: Number.POSITIVE_INFINITY }
  const asks = Array.from({ length: 64 }, (_, i) => {
    const content = `${i} ${'lorem ipsum dolor sit amet '.repeat(promptBytes / 27)}`.slice(0, promptBytes)
    return parseAsk(Buffer.from(JSON.stringify({ model: 'm', messages: [{ role: 'user', content }] })))
  })
  const context = {
    route: 'chat/completions',
    adapter: null,
    sessionId: null,
    contextTokens: 0,
    usualAnswerTokens: 256,
  } as const
  const decide = (n: number): number => {
    const from = performance.now()
    router.pick({ deploymentId: 'dep_1', replicas }, () => calm, null, readPrompt(asks[n % asks.length]!, context))
    return (performance.now() - from) * 1000
  }
  for (let n = 0; n < decisions; n++) decide(n)
  // What else this machine does meanwhile is no part of it: the quietest round counts.
  const round = () => Array.from({ length: decisions }, (_, n) => decide(n)).sort((a, b) => a - b)
  const quietest = Array.from({ length: rounds }, round).sort((a, b) => at(a, 0.99) - at(b, 0.99))[0]!
  report({ name: 'decision, 16 KB prompt, p50', value: at(quietest, 0.5), unit: 'µs' })
  report({ name: 'decision, 16 KB prompt, p99', value: at(quietest, 0.99), unit: 'µs', target: 200 })
}

function at(sorted: readonly number[], share: number): number {
  return sorted[Math.floor(sorted.length * share)]!
}
