/**
 * The starter's vocabulary: a byte-level tokenizer in llama.cpp's GPT-2 family with whole words. Every byte is a token,
 * so any text can be read; `loudness` says how much the model wants to say a token, in logits around zero. Raw bytes
 * and markers are so quiet that they are never said: what comes out is always words, and always valid UTF-8.
 */
import { merges, spoken } from './words.ts'

export interface StarterToken {
  /** As it stands in the file: bytes shown as printable characters. */
  text: string
  kind: 'normal' | 'control'
  loudness: number
}

const silent = -60
/** Bytes that are readable by themselves, with their loudness. The end mark's sets the length of an answer. */
const readable: Record<string, number> = {
  '.': 2.2,
  ',': 2,
  '!': -1,
  '?': 0,
  '\n': -1,
  '"': 0,
  ':': -2,
  '{': -3,
  '}': -1,
  '[': -3,
  ']': -1,
  '-': -2,
}
const digitLoudness = -2.5
const startLoudness = -3
const endLoudness = 2

export const controlTokens = ['<|im_start|>', '<|im_end|>', '<|endoftext|>'] as const

export function starterVocabulary(): StarterToken[] {
  const bytes = Array.from({ length: 256 }, (_, byte) => token(byteText(byte), loudnessOfByte(byte)))
  const pieces = merges.map(([left, right]) => token(left + right, silent))
  const words = spoken.map(({ text, inside }) => token(shown(text), inside ? 0 : startLoudness))
  const controls = controlTokens.map(
    (text): StarterToken => ({ text, kind: 'control', loudness: text === '<|im_end|>' ? endLoudness : silent }),
  )
  const seen = new Set<string>()
  return [...bytes, ...pieces, ...words, ...controls].filter(({ text }) => !seen.has(text) && seen.add(text))
}

export function mergeLines(): string[] {
  return merges.map(([left, right]) => `${left} ${right}`)
}

function token(text: string, loudness: number): StarterToken {
  return { text, kind: 'normal', loudness }
}

function loudnessOfByte(byte: number): number {
  const character = String.fromCharCode(byte)
  if (character >= '0' && character <= '9') return digitLoudness
  return readable[character] ?? silent
}

function shown(word: string): string {
  return [...Buffer.from(word, 'utf8')].map(byteText).join('')
}

/** GPT-2's way to write a byte as one printable character: itself where printable, else 256 and on in order. */
function byteText(byte: number): string {
  return String.fromCodePoint(characters[byte]!)
}

const characters: number[] = (() => {
  let next = 256
  const printable = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
  return Array.from({ length: 256 }, (_, byte) => (printable(byte) ? byte : next++))
})()
