/** Routes that some engines have: vectors, ranks, OpenAI's Responses and Anthropic's Messages. */
import { z } from 'zod'

const model = z.string().meta({ description: 'Name or id of the deployment.', example: 'prod-llama-70b' })
const stream = z.boolean().optional().meta({ description: 'Server-sent events of the route’s own kind.' })
const question = z.looseObject({ prompt_tokens: z.int(), total_tokens: z.int() }).meta({ id: 'PromptUsage' })

export const embeddingsRequest = z
  .looseObject({ model, input: z.union([z.string(), z.array(z.string())]), encoding_format: z.string().optional() })
  .meta({ id: 'EmbeddingsRequest' })
export const embeddingsAnswer = z
  .looseObject({
    object: z.literal('list'),
    model: z.string(),
    data: z.array(
      z.looseObject({ object: z.string(), index: z.int(), embedding: z.union([z.array(z.number()), z.string()]) }),
    ),
    usage: question,
  })
  .meta({ id: 'Embeddings' })

export const rerankRequest = z
  .looseObject({ model, query: z.string(), documents: z.array(z.string()), top_n: z.int().optional() })
  .meta({ id: 'RerankRequest' })
export const rerankAnswer = z
  .looseObject({
    model: z.string(),
    results: z.array(z.looseObject({ index: z.int(), relevance_score: z.number() })),
    usage: question.optional(),
  })
  .meta({ id: 'Ranks' })

const counted = z.looseObject({ input_tokens: z.int(), output_tokens: z.int() }).meta({ id: 'InputOutputUsage' })

export const responsesRequest = z
  .looseObject({
    model,
    input: z.union([z.string(), z.array(z.looseObject({}))]),
    instructions: z.string().optional(),
    max_output_tokens: z.int().min(1).optional(),
    stream,
  })
  .meta({
    id: 'ResponsesRequest',
    description:
      'As the OpenAI API, but for `background`, `previous_response_id` and `conversation`, which are refused.',
  })
export const responsesAnswer = z
  .looseObject({
    id: z.string(),
    object: z.literal('response'),
    status: z.string(),
    model: z.string(),
    output: z.array(z.looseObject({ type: z.string() })),
    usage: counted,
  })
  .meta({ id: 'Response' })

export const messagesRequest = z
  .looseObject({
    model,
    max_tokens: z.int().min(1),
    messages: z.array(z.looseObject({ role: z.string(), content: z.union([z.string(), z.array(z.looseObject({}))]) })),
    system: z.union([z.string(), z.array(z.looseObject({}))]).optional(),
    stream,
  })
  .meta({
    id: 'MessagesRequest',
    description: 'As the Anthropic API. With `anthropic-version`, the key may come as `x-api-key`.',
  })
export const countTokensRequest = messagesRequest
  .pick({ model: true, messages: true, system: true })
  .meta({ id: 'CountTokensRequest', description: 'A message without what bounds its answer.' })
export const countTokensAnswer = z.looseObject({ input_tokens: z.int() }).meta({ id: 'CountTokensAnswer' })
export const messagesAnswer = z
  .looseObject({
    id: z.string(),
    type: z.literal('message'),
    role: z.literal('assistant'),
    model: z.string(),
    content: z.array(z.looseObject({ type: z.string() })),
    stop_reason: z.union([z.string(), z.null()]),
    usage: counted,
  })
  .meta({ id: 'Message' })
