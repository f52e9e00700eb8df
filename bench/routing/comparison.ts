/** All routers on the same requests, and what comes of it. */
import type { Turn } from './conversation.ts'
import { clairvoyant, leastLoad, ours, roundRobin } from './routers.ts'
import { type MakeRouter, type Outcome, simulate } from './simulation.ts'
import { type Arrival, workingSetBlocks } from './traffic.ts'

const engines = 8
/** All caches together hold this part of all different blocks that are asked for or answered. */
const cachedShare = 1 / 3

export interface Compared {
  name: string
  hitShare: number
  p50Ms: number
  p99Ms: number
  /** Requests of the busiest engine ÷ the average. */
  hottest: number
}

export function compare(arrivals: readonly Arrival[], routers: Record<string, MakeRouter> = standard): Compared[] {
  const cacheBlocks = Math.ceil(workingSetBlocks(arrivals) * cachedShare)
  return Object.entries(routers).map(([name, make]) => shown(name, simulate(arrivals, make, { engines, cacheBlocks })))
}

const standard: Record<string, MakeRouter> = {
  'round robin': roundRobin,
  'least load': leastLoad,
  clairvoyant,
  paddock: ours(),
  'paddock, two blind hosts': ours({ gateways: 2 }),
}

function shown(name: string, { promptTokens, cachedTokens, firstTokenSeconds, hottest }: Outcome): Compared {
  const ms = (share: number) => firstTokenSeconds[Math.floor(firstTokenSeconds.length * share)]! * 1000
  return { name, hitShare: cachedTokens / promptTokens, p50Ms: ms(0.5), p99Ms: ms(0.99), hottest }
}

/** How near `name` comes to one that sees everything: its hits and its slowest first tokens, as ratios. */
export function beside(compared: readonly Compared[], name: string): { hits: number; p99: number } {
  const [one, best] = [name, 'clairvoyant'].map((wanted) => compared.find((row) => row.name === wanted)!)
  return { hits: one!.hitShare / best!.hitShare, p99: one!.p99Ms / best!.p99Ms }
}

export function table(title: string, arrivals: readonly Arrival[], rows: readonly Compared[]): string {
  const tokens = Math.round(sum(arrivals, (turn) => turn.promptTokens) / arrivals.length)
  const head = `### ${title}: ${arrivals.length} requests, ${tokens} tokens each, in ${Math.round(arrivals.at(-1)!.at)} s`
  const lines = rows.map(({ name, hitShare, p50Ms, p99Ms, hottest }) => {
    const cells = [name, `${(hitShare * 100).toFixed(1)} %`, p50Ms.toFixed(0), p99Ms.toFixed(0), hottest.toFixed(2)]
    return `| ${cells.join(' | ')} |`
  })
  const titles = '| router | tokens from cache | TTFT p50 ms | p99 ms | hottest ÷ average |\n|---|--:|--:|--:|--:|'
  return `${head}\n\n${titles}\n${lines.join('\n')}`
}

function sum(arrivals: readonly Arrival[], of: (turn: Turn) => number): number {
  return arrivals.reduce((total, { turn }) => total + of(turn), 0)
}
