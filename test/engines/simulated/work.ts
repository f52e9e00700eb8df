/** What both simulated engines have in common: requests in, words out at a pace, and being left in the middle. */
import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** How it behaves, from `simulated.json` in the folder of its model: an engine gets no other word from a test. */
export interface Behaviour {
  loadMs: number
  warmupMs: number
  /** It ends with this in its last line instead of becoming ready. */
  failsWith: string | null
}

export function behaviourOf(modelPath: string): Behaviour {
  const usual = { loadMs: 200, warmupMs: 200, failsWith: null }
  try {
    return { ...usual, ...JSON.parse(readFileSync(join(modelPath, 'simulated.json'), 'utf8')) }
  } catch {
    return usual
  }
}

/** Tokens that the model knows; ends the program as a loader does when there is no model. */
export function contextOf(modelPath: string): number {
  try {
    return JSON.parse(readFileSync(join(modelPath, 'config.json'), 'utf8')).max_position_embeddings
  } catch (error) {
    console.error(`OSError: Can't load the configuration of '${modelPath}': ${(error as Error).message}`)
    return process.exit(1)
  }
}

export type Fields = Record<string, unknown>

export async function bodyOf(request: IncomingMessage): Promise<Fields> {
  let text = ''
  for await (const part of request.setEncoding('utf8')) text += part
  return JSON.parse(text) as Fields
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

export interface Work {
  chat: boolean
  promptTokens: number
  /** As many as of the same prompt's beginning were seen before. */
  cachedTokens: number
  /** Of the answer, thoughts first. */
  thoughts: string[]
  words: string[]
  paceMs: number
  finish: 'stop' | 'length'
  stream: boolean
  includeUsage: boolean
  everyUsage: boolean
  /** What the prompt asks it to do wrong. */
  trouble: 'none' | 'error' | 'no end' | 'crash' | 'abort'
}

const seenPrompts = new Set<string>()
const wordsUsual = 8
const wordsMany = 160

export function workOf(chat: boolean, fields: Fields, opening: string): Work {
  const prompt = chat ? textOf(fields.messages) : String(fields.prompt)
  const options = (fields.stream_options ?? {}) as Fields
  const most = Number(fields.max_completion_tokens ?? fields.max_tokens ?? (chat ? wordsMany : 16))
  const all = prompt.includes('slowly') ? wordsMany : wordsUsual
  const thoughts = prompt.includes('think') ? ['Let ', 'me ', 'see.'].slice(0, most) : []
  const words = [opening, ...Array.from({ length: all - 1 }, (_, at) => ` word${at + 1}`)].slice(
    0,
    most - thoughts.length,
  )
  const promptTokens = prompt.split(/\s+/).filter(Boolean).length + 1
  const cachedTokens = seenPrompts.has(prompt) ? promptTokens - 1 : 0
  seenPrompts.add(prompt)
  return {
    chat,
    promptTokens,
    cachedTokens,
    thoughts,
    words,
    paceMs: prompt.includes('slowly') ? 20 : 2,
    finish: words.length < all ? 'length' : 'stop',
    stream: fields.stream === true,
    includeUsage: options.include_usage === true,
    everyUsage: options.continuous_usage_stats === true,
    trouble:
      (/please (fail|stop short|crash|abort)/
        .exec(prompt)?.[1]
        ?.replace('stop short', 'no end')
        .replace('fail', 'error') as Work['trouble']) ?? 'none',
  }
}

function textOf(messages: unknown): string {
  const list = Array.isArray(messages) ? messages : []
  return list.map(({ content }: Fields) => (typeof content === 'string' ? content : JSON.stringify(content))).join('\n')
}

/** Counted for /metrics. */
export const counts = { running: 0, prompt: 0, generated: 0, finished: 0, aborted: 0 }

/**
 * Says token after token, each with its number; false when the client left or somebody told it to stop, and then it
 * computes no further.
 */
export async function produce(
  work: Work,
  response: ServerResponse,
  stopped: () => boolean,
  say: (part: { thought: boolean; text: string; tokens: number }) => void,
): Promise<boolean> {
  counts.running += 1
  counts.prompt += work.promptTokens
  try {
    const parts = [
      ...work.thoughts.map((text) => ({ thought: true, text })),
      ...work.words.map((text) => ({ thought: false, text })),
    ]
    for (const [at, part] of parts.entries()) {
      await sleep(work.paceMs)
      if (response.destroyed || stopped()) {
        counts.aborted += 1
        return false
      }
      counts.generated += 1
      say({ ...part, tokens: at + 1 })
      if (work.trouble !== 'none' && at === 2) {
        if (work.trouble === 'crash') process.kill(process.pid, 'SIGKILL')
        return true
      }
    }
    counts.finished += 1
    return true
  } finally {
    counts.running -= 1
  }
}
