/**
 * Conversations without a model: what is said is known by number and length only. From that come both what a gateway
 * sees, the text of a request, and what an engine keeps of it, the hashes of its blocks.
 */
import { mixed } from '../../src/gateway/routing/hash.ts'

/** Tokens of a block of an engine's cache. */
export const cacheBlockTokens = 16
const bytesPerToken = 4

/** One request: everything that was said before, and the answer that will be given. */
export interface Turn {
  promptTokens: number
  answerTokens: number
  /** Of prompt and answer: the hash of each block of the cache, each of all that is before it too. */
  blocks: Int32Array
  /** How many of the blocks are whole before the answer begins. */
  promptBlocks: number
  /** The messages as JSON, without the last bracket. */
  messages: string
}

const letters = 'abcdefghijklmnopqrstuvwxyz      '
let pad = ''
for (let i = 0; i < 65_536; i++) pad += letters[mixed(i) % letters.length]

/** What is said: as many bytes as tokens would have, different from the first on. */
function words(number: number, tokens: number): string {
  const head = `${number.toString(36)} `
  const length = Math.max(head.length, tokens * bytesPerToken)
  let text = head
  while (text.length < length) {
    const from = mixed(number + text.length) % (pad.length - 4096)
    text += pad.slice(from, from + Math.min(4096, length - text.length))
  }
  return text
}

/** The first of a conversation: what all of an application's begin with, and what this person says. */
export function firstTurn(system: Said, user: Said, answer: Said): Turn {
  const start = `[{"role":"system","content":"${words(system.number, system.tokens)}"}`
  const blank = { tokens: 0, hashes: [] as number[], hash: 0 }
  return turnOf(extended(blank, system), start, user, answer)
}

/** The next, after `turn` was answered. */
export function nextTurn(turn: Turn, user: Said, answer: Said): Turn {
  const tokens = turn.promptTokens + turn.answerTokens
  const hashes = Array.from(turn.blocks)
  // What stands in an open block is known by where it stands.
  const read = { tokens, hashes, hash: mixed((hashes.at(-1) ?? 0) + tokens) }
  const said = `,{"role":"assistant","content":"${words(mixed(tokens + (hashes.at(-1) ?? 0)), turn.answerTokens)}"}`
  return turnOf(read, turn.messages + said, user, answer)
}

/** Something said: which, and how long. */
export interface Said {
  number: number
  tokens: number
}

interface Read {
  tokens: number
  hashes: number[]
  hash: number
}

function turnOf(before: Read, text: string, user: Said, answer: Said): Turn {
  const prompt = extended(before, user)
  const promptBlocks = prompt.hashes.length
  const whole = extended(prompt, answer)
  return {
    promptTokens: prompt.tokens,
    answerTokens: answer.tokens,
    blocks: Int32Array.from(whole.hashes),
    promptBlocks,
    messages: `${text},{"role":"user","content":"${words(user.number, user.tokens)}"}`,
  }
}

function extended({ tokens, hashes, hash }: Read, said: Said): Read {
  const after = hashes.slice()
  const end = tokens + said.tokens
  let chain = mixed(hash + Math.imul(said.number, 0x9e3779b1))
  while ((after.length + 1) * cacheBlockTokens <= end) {
    chain = mixed(chain + 0x9e3779b9)
    after.push(chain | 0)
  }
  return { tokens: end, hashes: after, hash: chain }
}
