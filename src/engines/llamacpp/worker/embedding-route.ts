/** POST /v1/embeddings, in OpenAI's shapes. */
import { Fault } from '../../../kernel/fault.ts'
import type { Engine } from './generate.ts'
import type { Model } from './model.ts'
import { unsupported, wrong } from './request.ts'

export interface EmbeddingRequest {
  inputs: string[]
  base64: boolean
}

export const inputsMaximum = 2_048

/** Throws Faults `invalid_request` and `engine_unsupported`. */
export function readEmbeddingRequest(body: unknown): EmbeddingRequest {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new Fault('invalid_request', 'The body must be a JSON object.')
  const { input, encoding_format: format, dimensions, adapters } = body as Record<string, unknown>
  if (dimensions !== undefined && dimensions !== null)
    throw unsupported('dimensions', 'This engine gives vectors as long as the model makes them; leave dimensions out.')
  if (adapters !== undefined && adapters !== null)
    throw unsupported('model', 'The embedded engine makes embeddings without adapters.')
  if (format !== undefined && format !== null && format !== 'float' && format !== 'base64')
    throw wrong('encoding_format', 'encoding_format must be float or base64.')
  return { inputs: readInputs(input), base64: format === 'base64' }
}

function readInputs(input: unknown): string[] {
  const inputs: unknown[] = Array.isArray(input) ? input : [input]
  if (inputs.some((one) => typeof one === 'number' || Array.isArray(one)))
    throw unsupported('input', 'This engine takes the input as text, not as token ids.')
  if (inputs.length === 0 || inputs.length > inputsMaximum)
    throw wrong('input', `input must be a string, or 1 to ${inputsMaximum} of them.`)
  for (const one of inputs) {
    if (typeof one !== 'string') throw wrong('input', 'input must be a string or a list of strings.')
    if (one === '') throw wrong('input', 'Input content cannot be empty.')
  }
  return inputs as string[]
}

/** The whole answer. `counted` hears of the tokens before they are computed. */
export async function answerEmbeddings(
  { model, embedder }: Engine,
  servedName: string,
  body: unknown,
  signal: AbortSignal,
  counted: (promptTokens: number) => void,
): Promise<object> {
  const { inputs, base64 } = readEmbeddingRequest(body)
  embedder.require()
  const tokens = inputs.map((input, at) => tokensOf(model, input, at, embedder.tokensMaximum))
  const total = tokens.reduce((sum, { length }) => sum + length, 0)
  counted(total)
  const vectors = await embedder.embed(tokens, signal)
  const data = vectors.map((vector, index) => ({
    object: 'embedding',
    index,
    embedding: base64 ? Buffer.from(vector.buffer).toString('base64') : [...vector],
  }))
  return { object: 'list', data, model: servedName, usage: { prompt_tokens: total, total_tokens: total } }
}

function tokensOf(model: Model, input: string, at: number, maximum: number): Uint32Array {
  const tokens = model.tokensToEmbed(input)
  if (tokens.length <= maximum) return tokens
  throw new Fault(
    'context_length_exceeded',
    `input[${at}] has ${tokens.length} tokens; this engine embeds texts of up to ${maximum}.`,
    { detail: { param: 'input', n_prompt_tokens: tokens.length, n_ctx: maximum } },
  )
}
