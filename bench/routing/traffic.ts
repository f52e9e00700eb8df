/**
 * Requests in order of arrival: conversations of several turns that share the system prompts of a few applications, a
 * fifth of them branched. Made up whole, or with the arrivals and lengths of a trace.
 */
import { readFileSync } from 'node:fs'
import { firstTurn, nextTurn, type Said, type Turn } from './conversation.ts'
import { Dice } from './dice.ts'

export interface Arrival {
  /** Seconds from the start. */
  at: number
  turn: Turn
}

const applications = 12
const branchedShare = 0.2
/** A context that no request exceeds. */
const contextTokens = 16_384

interface Shape {
  seed: number
  requests: number
  perSecond: number
}

/** How people talk with assistants: a few turns each, half a minute apart, questions shorter than answers. */
const meanTurns = 6
const meanThinkSeconds = 45
const question = { least: 12, mean: 150 }
const answer = { least: 8, mean: 220 }

export function generated({ seed, requests, perSecond }: Shape): Arrival[] {
  const dice = new Dice(seed)
  const systems = systemPrompts(dice)
  const arrivals: Arrival[] = []
  const seconds = requests / perSecond
  const spacing = meanTurns / perSecond
  // The first are under way already, or all would begin at once.
  for (let start = -4 * meanTurns * meanThinkSeconds; start < seconds; start += dice.wait(spacing))
    talk(dice, arrivals, firstTurn(oneOf(dice, systems), said(dice, question), said(dice, answer)), start)
  return arrivals.filter(({ at }) => at >= 0 && at < seconds).sort((a, b) => a.at - b.at)
}

/** One conversation to its end; it may split in two that go on from the same turn. */
function talk(dice: Dice, arrivals: Arrival[], first: Turn, start: number): void {
  const branchAt = dice.chance(branchedShare) ? 1 + dice.below(meanTurns - 2) : -1
  const length = 1 + Math.floor(dice.wait(meanTurns - 0.5))
  let turn = first
  let at = start
  for (let n = 1; ; n++) {
    arrivals.push({ at, turn })
    if (n === branchAt) goOn(dice, arrivals, turn, at, length - n)
    if (n >= length || turn.promptTokens > contextTokens) return
    at += thinkSeconds(dice, turn)
    turn = nextTurn(turn, said(dice, question), said(dice, answer))
  }
}

function goOn(dice: Dice, arrivals: Arrival[], from: Turn, since: number, left: number): void {
  let turn = from
  let at = since
  for (let n = 0; n < left; n++) {
    at += thinkSeconds(dice, turn)
    turn = nextTurn(turn, said(dice, question), said(dice, answer))
    arrivals.push({ at, turn })
  }
}

/** From one request of a conversation to its next: the answer is waited for and read. */
function thinkSeconds(dice: Dice, turn: Turn): number {
  return 2 + turn.answerTokens * 0.02 + dice.wait(meanThinkSeconds)
}

/**
 * The requests of a trace, each put where it fits: as the next turn of a conversation that has come as far as its
 * length says and was answered by then, else as a new one.
 */
export function traced(file: string, { seed, requests, perSecond }: Shape): Arrival[] {
  const rows = readTrace(file).slice(0, requests)
  const dice = new Dice(seed)
  const systems = systemPrompts(dice)
  const speed = perSecond / (rows.length / rows.at(-1)!.at)
  const open: Open[] = []
  return rows.map(({ at, contextTokens: tokens, answerTokens }) => {
    const reply = { number: dice.below(2 ** 31), tokens: answerTokens }
    const fitting = dice.chance(continuedShare) ? findOpen(dice, open, tokens, at) : null
    const turn =
      fitting === null
        ? newTurn(dice, systems, tokens, reply)
        : nextTurn(fitting.turn, { number: dice.below(2 ** 31), tokens: tokens - lengthOf(fitting.turn) }, reply)
    // Somebody who branches goes on from the older turn as well.
    if (fitting !== null && !dice.chance(branchedShare)) open.splice(open.indexOf(fitting), 1)
    open.push({ turn, readyAt: at + 2 + answerTokens * 0.02 })
    if (open.length > openMaximum) open.shift()
    return { at: at / speed, turn }
  })
}

interface Open {
  turn: Turn
  readyAt: number
}

const openMaximum = 600
const continuedShare = 0.85
const looks = 400

function findOpen(dice: Dice, open: readonly Open[], tokens: number, at: number): Open | null {
  for (let n = 0; n < Math.min(looks, open.length); n++) {
    const one = open[dice.below(open.length)]!
    const length = lengthOf(one.turn)
    if (one.readyAt <= at && length < tokens && length >= tokens * 0.6) return one
  }
  return null
}

function lengthOf(turn: Turn): number {
  return turn.promptTokens + turn.answerTokens
}

function newTurn(dice: Dice, systems: readonly Said[], tokens: number, reply: Said): Turn {
  const fitting = systems.filter((system) => system.tokens < tokens * 0.9)
  const system = fitting.length === 0 ? { number: 1, tokens: 1 } : oneOf(dice, fitting)
  const user = { number: dice.below(2 ** 31), tokens: Math.max(1, tokens - system.tokens) }
  return firstTurn(system, user, reply)
}

interface Row {
  /** Seconds from the first. */
  at: number
  contextTokens: number
  answerTokens: number
}

/** Columns TIMESTAMP, ContextTokens, GeneratedTokens, as in Azure's public traces. Throws when there are none. */
export function readTrace(file: string): Row[] {
  const rows: Row[] = []
  let start: number | null = null
  for (const line of readFileSync(file, 'utf8').split('\n').slice(1)) {
    const [time, context, generated] = line.split(',')
    const at = Date.parse(`${time?.slice(0, 23).replace(' ', 'T')}Z`) / 1000
    if (!Number.isFinite(at)) continue
    start ??= at
    rows.push({ at: at - start, contextTokens: Number(context), answerTokens: Math.max(1, Number(generated)) })
  }
  if (rows.length < 2) throw new Error(`${file} has no rows of TIMESTAMP,ContextTokens,GeneratedTokens`)
  return rows
}

/** A few applications have most of the traffic. */
function systemPrompts(dice: Dice): Said[] {
  return Array.from({ length: applications }, () => ({ number: dice.below(2 ** 31), tokens: 100 + dice.below(1_100) }))
}

function oneOf(dice: Dice, systems: readonly Said[]): Said {
  return systems[Math.floor(systems.length * dice.next() ** 2)]!
}

function said(dice: Dice, { least, mean }: { least: number; mean: number }): Said {
  return { number: dice.below(2 ** 31), tokens: least + Math.floor(dice.wait(mean - least)) }
}

/** Different blocks in all that is asked and answered. */
export function workingSetBlocks(arrivals: readonly Arrival[]): number {
  const blocks = new Set<number>()
  for (const { turn } of arrivals) for (const block of turn.blocks) blocks.add(block)
  return blocks.size
}
