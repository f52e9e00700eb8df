/**
 * Finds prompts that cannot fit without reading all of them: tokens of megabytes take seconds, in which the engine answers
 * nobody. Only texts of many more characters than the context has tokens are looked at, part by part.
 */
import type { ChatMessage } from './chat-template.ts'
import type { Model } from './model.ts'
import { toolBody } from './tools.ts'

/** Characters per token that texts hardly ever have on average. */
const usualCharactersMaximum = 8
const partCharacters = 16 * 1024
/** Parts are cut anywhere, which makes a few tokens more of them. */
const certainty = 2

/** Tokens that these texts have at least, when that is more than `most` for certain; null = they must be counted. */
export function tokensBeyond(model: Pick<Model, 'countTokens'>, texts: readonly string[], most: number): number | null {
  const characters = texts.reduce((sum, text) => sum + text.length, 0)
  if (characters <= most * usualCharactersMaximum) return null
  let counted = 0
  for (const text of texts)
    for (let at = 0; at < text.length; at += partCharacters) {
      counted += model.countTokens(text.slice(at, at + partCharacters))
      if (counted > most * certainty) return Math.floor(counted / certainty)
    }
  return null
}

/** What of a chat is in its prompt, whatever the template. */
export function textsOf(messages: readonly ChatMessage[], tools: Parameters<typeof toolBody>[0][]): string[] {
  const said = messages.map(({ role, content }) =>
    // Templates leave out what an assistant thought.
    role === 'assistant' ? content.split('</think>').at(-1)! : content,
  )
  return [...said, ...tools.map((tool) => JSON.stringify(toolBody(tool)))]
}
