/**
 * The inference routes as the reference shows them. The gateway does not parse with these schemas: engine parameters
 * that are not listed pass through to the engine that has them.
 */
import { z } from 'zod'
import {
  countTokensAnswer,
  countTokensRequest,
  embeddingsAnswer,
  embeddingsRequest,
  messagesAnswer,
  messagesRequest,
  rerankAnswer,
  rerankRequest,
  responsesAnswer,
  responsesRequest,
} from './other-routes.ts'

const message = z
  .looseObject({
    role: z.enum(['system', 'developer', 'user', 'assistant', 'tool']),
    content: z.union([z.string(), z.array(z.looseObject({ type: z.string() })), z.null()]),
  })
  .meta({ id: 'ChatMessage' })

const sampling = {
  stream: z.boolean().optional().meta({ description: 'Server-sent events, ended by `data: [DONE]`.' }),
  stream_options: z
    .looseObject({ include_usage: z.boolean().optional() })
    .optional()
    .meta({ description: '`include_usage`: the last chunk carries the usage.' }),
  max_tokens: z.int().min(1).optional().meta({ description: 'Bounds the answer, and so its cost.' }),
  temperature: z.number().min(0).max(2).optional(),
  top_p: z.number().min(0).max(1).optional(),
  stop: z.union([z.string(), z.array(z.string())]).optional(),
  seed: z.int().optional(),
}

const model = z.string().meta({ description: 'Name or id of the deployment.', example: 'prod-llama-70b' })
const chatFields = {
  messages: z.array(message).min(1),
  ...sampling,
  response_format: z
    .looseObject({ type: z.enum(['text', 'json_object', 'json_schema']) })
    .optional()
    .meta({ description: '`json_schema`: the answer follows the schema.' }),
}

export const chatRequest = z
  .looseObject({ model, ...chatFields })
  .meta({ id: 'ChatCompletionRequest', description: 'As the OpenAI API. Other engine parameters pass through.' })
export const deploymentChatRequest = z
  .looseObject({
    model: z.string().optional().meta({ description: 'May be absent: the path names the deployment.' }),
    ...chatFields,
  })
  .meta({ id: 'DeploymentChatCompletionRequest' })

const usage = z
  .looseObject({ prompt_tokens: z.int(), completion_tokens: z.int(), total_tokens: z.int() })
  .meta({ id: 'Usage' })
const finishReason = z.union([z.string(), z.null()]).meta({ example: 'stop' })

export const chatAnswer = z
  .looseObject({
    id: z.string(),
    object: z.literal('chat.completion'),
    created: z.int().meta({ description: 'Epoch seconds.' }),
    model: z.string(),
    choices: z.array(z.looseObject({ index: z.int(), message, finish_reason: finishReason })),
    usage,
  })
  .meta({ id: 'ChatCompletion' })

export const completionRequest = z
  .looseObject({ model, prompt: z.union([z.string(), z.array(z.string())]), ...sampling })
  .meta({ id: 'CompletionRequest' })
export const completionAnswer = z
  .looseObject({
    id: z.string(),
    object: z.literal('text_completion'),
    created: z.int(),
    model: z.string(),
    choices: z.array(z.looseObject({ index: z.int(), text: z.string(), finish_reason: finishReason })),
    usage,
  })
  .meta({ id: 'Completion' })

export const callableModel = z
  .looseObject({ id: z.string(), object: z.literal('model'), created: z.int(), owned_by: z.string() })
  .meta({ id: 'CallableModel' })
export const modelList = z
  .looseObject({ object: z.literal('list'), data: z.array(callableModel) })
  .meta({ id: 'CallableModelList', description: 'The deployments that this key may call.' })

export const inferenceError = z
  .looseObject({
    error: z.looseObject({
      message: z.string(),
      type: z.string(),
      param: z.union([z.string(), z.null()]),
      code: z.union([z.string(), z.null()]).meta({ description: 'The codes of /docs/errors.' }),
    }),
  })
  .meta({ id: 'InferenceError' })

export interface InferenceRoute {
  id: string
  method: 'get' | 'post'
  path: string
  summary: string
  request: z.ZodType | null
  answer: z.ZodType
}

const native = '/api/v1/public'
const chat = { method: 'post', answer: chatAnswer } as const
export const inferenceRoutes: readonly InferenceRoute[] = [
  { ...chat, id: 'chat', path: '/v1/chat/completions', summary: 'Chat with a deployment', request: chatRequest },
  {
    ...chat,
    id: 'chatWithDeployment',
    path: `${native}/deployments/{id}/chat/completions`,
    summary: 'Chat with this deployment',
    request: deploymentChatRequest,
  },
  {
    ...chat,
    id: 'chatWithDeploymentOfOrg',
    path: `${native}/orgs/{org_id}/deployments/{id}/chat/completions`,
    summary: 'Chat with a deployment of an organisation that you belong to',
    request: deploymentChatRequest,
  },
  {
    id: 'complete',
    method: 'post',
    path: '/v1/completions',
    summary: 'Complete a text',
    request: completionRequest,
    answer: completionAnswer,
  },
  {
    id: 'embed',
    method: 'post',
    path: '/v1/embeddings',
    summary: 'Vectors of texts, with engines that have them',
    request: embeddingsRequest,
    answer: embeddingsAnswer,
  },
  {
    id: 'rerank',
    method: 'post',
    path: '/v1/rerank',
    summary: 'Documents in the order of their relevance, with engines that have it',
    request: rerankRequest,
    answer: rerankAnswer,
  },
  {
    id: 'respond',
    method: 'post',
    path: '/v1/responses',
    summary: 'The Responses API, with engines that have it',
    request: responsesRequest,
    answer: responsesAnswer,
  },
  {
    id: 'message',
    method: 'post',
    path: '/v1/messages',
    summary: 'The Messages API, with engines that have it',
    request: messagesRequest,
    answer: messagesAnswer,
  },
  {
    id: 'countMessageTokens',
    method: 'post',
    path: '/v1/messages/count_tokens',
    summary: 'How many tokens a message would take, with engines that count; not charged',
    request: countTokensRequest,
    answer: countTokensAnswer,
  },
  {
    id: 'getCallableModel',
    method: 'get',
    path: '/v1/models/{id}',
    summary: 'One of the deployments that you can call',
    request: null,
    answer: callableModel,
  },
  {
    id: 'listCallableModels',
    method: 'get',
    path: '/v1/models',
    summary: 'List what you can call',
    request: null,
    answer: modelList,
  },
]
