/** POST /v1/embeddings, in OpenAI's shapes. */
import { Fault } from '../../../kernel/fault.ts'
import { systemClock } from '../../../runtime/clock.ts'
import { tokensBeyond } from './far-too-long.ts'
import type { Engine } from './generate.ts'
import type { Model } from './model.ts'
import { asObject, isAbsent, isTokens, number, unsupported, wrong } from './request.ts'
import { lengthOf } from './shortened-vector.ts'

export interface EmbeddingRequest {
  /** Texts, or tokens. */
  inputs: (string | number[])[]
  base64: boolean
  /** Numbers of a vector; null = all. */
  dimensions: number | null
}

export const inputsMaximum = 2_048
/** Of all inputs together, as OpenAI has it. */
export const inputTokensMaximum = 300_000
const dimensionsMaximum = 1_000_000
const textsAtOnce = 16

/** Throws Faults `invalid_request` and `engine_unsupported`. */
export function readEmbeddingRequest(body: unknown): EmbeddingRequest {
  const fields = asObject(body)
  const { encoding_format: format } = fields
  if (!isAbsent(fields.adapters)) throw unsupported('model', 'The embedded engine makes embeddings without adapters.')
  if (!isAbsent(format) && format !== 'float' && format !== 'base64')
    throw wrong('encoding_format', 'encoding_format must be float or base64.')
  const dimensions = number(fields, 'dimensions', 1, dimensionsMaximum, true)
  return { inputs: readInputs(fields.input), base64: format === 'base64', dimensions }
}

const shapes = 'input must be a string, a list of strings, a list of token ids or a list of such lists.'

function readInputs(input: unknown): EmbeddingRequest['inputs'] {
  if (isAbsent(input)) throw wrong('input', `input is missing. ${shapes}`)
  if (Array.isArray(input) && input.length === 0)
    throw wrong('input', 'input is an empty list; it needs at least one text.')
  const inputs: unknown[] = Array.isArray(input) && typeof input[0] !== 'number' ? input : [input]
  if (inputs.length > inputsMaximum) throw wrong('input', `input may hold ${inputsMaximum} texts at most.`)
  inputs.forEach((one, at) => {
    if (one === '' || (Array.isArray(one) && one.length === 0)) throw wrong('input', `input[${at}] is empty.`)
    if (typeof one !== 'string' && !isTokens(one)) throw wrong('input', shapes)
    if (typeof one !== typeof inputs[0])
      throw wrong('input', 'input must be either texts or lists of token ids, not both.')
  })
  return inputs as EmbeddingRequest['inputs']
}

/** The whole answer. `counted` hears of the tokens before they are computed. */
export async function answerEmbeddings(
  { model, embedder }: Engine,
  servedName: string,
  body: unknown,
  signal: AbortSignal,
  counted: (promptTokens: number) => void,
): Promise<object> {
  const { inputs, base64, dimensions } = readEmbeddingRequest(body)
  embedder.require()
  const count = lengthOf(dimensions, model.handle.getEmbeddingVectorSize(), model.shortensVectors)
  const tokens = await allTokens(model, inputs, embedder.tokensMaximum)
  const total = tokens.reduce((sum, { length }) => sum + length, 0)
  counted(total)
  const vectors = await embedder.embed(tokens, count, signal)
  const data = vectors.map((vector, index) => ({
    object: 'embedding',
    index,
    embedding: base64 ? Buffer.from(vector.buffer).toString('base64') : [...vector],
  }))
  return { object: 'list', data, model: servedName, usage: { prompt_tokens: total, total_tokens: total } }
}

async function allTokens(model: Model, inputs: EmbeddingRequest['inputs'], maximum: number): Promise<Uint32Array[]> {
  const all: Uint32Array[] = []
  let total = 0
  for (const [at, input] of inputs.entries()) {
    const beyond = typeof input === 'string' ? tokensBeyond(model, [input], maximum) : null
    if (beyond !== null) throw tooLongText(at, beyond, maximum, 'at least ')
    const tokens = typeof input === 'string' ? model.tokensToEmbed(input) : model.tokensGiven(input, 'input')
    if (tokens.length === 0) throw wrong('input', `input[${at}] has no tokens.`)
    if (tokens.length > maximum) throw tooLongText(at, tokens.length, maximum)
    total += tokens.length
    if (total > inputTokensMaximum)
      throw wrong('input', `input has more than ${inputTokensMaximum} tokens in all; send fewer texts at once.`)
    all.push(tokens)
    // Many texts take a second: others are answered meanwhile.
    if (at % textsAtOnce === textsAtOnce - 1) await systemClock.sleep(0)
  }
  return all
}

function tooLongText(at: number, tokens: number, maximum: number, atLeast = ''): Fault {
  const message = `This model's maximum context length is ${maximum} tokens. However, input[${at}] has ${atLeast}${tokens}.`
  return new Fault('context_length_exceeded', message, {
    detail: { param: 'input', n_prompt_tokens: tokens, n_ctx: maximum },
  })
}
