/**
 * Which fields of a request an engine gets. Allow-lists: what nobody has looked at may reach past the gateway into the
 * engine — other adapters by path, caches and slots by number, templates, hosts to connect to — so it is not passed, and
 * the client is told its name. Here is what OpenAI's and Anthropic's clients send; engines add what is theirs. Pure.
 */
import type { InferenceRoute } from './contract.ts'

/** Route → names of fields. */
export type FieldLists = Readonly<Partial<Record<InferenceRoute, string>>>

const forAccounts = 'user metadata store service_tier safety_identifier prompt_cache_key prompt_cache_retention'
const sampling =
  'n stop seed temperature top_p top_k min_p presence_penalty frequency_penalty repetition_penalty logit_bias ignore_eos'

/** What clients of the public APIs send. Engines ignore what they do not know of it. */
export const commonFields: FieldLists = {
  'chat/completions': [
    'model messages stream stream_options max_tokens max_completion_tokens logprobs top_logprobs response_format',
    'tools tool_choice parallel_tool_calls functions function_call reasoning_effort verbosity modalities prediction',
    sampling,
    forAccounts,
  ].join(' '),
  completions: `model prompt stream stream_options max_tokens logprobs suffix echo best_of ${sampling} ${forAccounts}`,
  embeddings: `model input encoding_format dimensions ${forAccounts}`,
  rerank: `model query documents top_n return_documents ${forAccounts}`,
  responses: [
    'model input instructions stream stream_options max_output_tokens max_tool_calls tools tool_choice text reasoning',
    'parallel_tool_calls include truncation top_logprobs background previous_response_id conversation',
    sampling,
    forAccounts,
  ].join(' '),
  'messages/count_tokens': 'model messages system tools tool_choice thinking',
  messages: `model messages system stream max_tokens stop_sequences tools tool_choice thinking ${sampling} ${forAccounts}`,
}

/** The members that fields with members of their own may have. */
export type MemberLists = Readonly<Record<string, string>>

export const commonMembers: MemberLists = {
  stream_options: 'include_usage continuous_usage_stats include_obfuscation',
  response_format: 'type json_schema',
}

/** Tools that the client runs. Others would have the engine call out, to a server that the request names. */
const toolTypes = new Set<unknown>(['function', 'custom'])

export type RefusedField = (route: InferenceRoute, body: Record<string, unknown>) => string | null

/** The first field that is not on the lists, as a path; null = all may pass. */
export function allowing(
  lists: readonly FieldLists[],
  memberLists: readonly MemberLists[] = [commonMembers],
): RefusedField {
  const fields = new Map<string, ReadonlySet<string>>()
  for (const list of lists)
    for (const [route, names] of Object.entries(list)) fields.set(route, withNames(fields.get(route), names))
  const members = new Map<string, ReadonlySet<string>>()
  for (const list of memberLists)
    for (const [field, names] of Object.entries(list)) members.set(field, withNames(members.get(field), names))
  return (route, body) => {
    const allowed = fields.get(route)
    for (const field in body) {
      if (!allowed?.has(field)) return field
      const value = body[field]
      if (value === null || typeof value !== 'object') continue
      const refused = field === 'tools' ? foreignTool(value) : foreignMember(members.get(field), field, value)
      if (refused !== null) return refused
    }
    return null
  }
}

function withNames(before: ReadonlySet<string> | undefined, names: string): ReadonlySet<string> {
  return new Set([...(before ?? []), ...names.split(' ')])
}

function foreignMember(allowed: ReadonlySet<string> | undefined, field: string, value: object): string | null {
  if (allowed === undefined) return null
  for (const member in value) if (!allowed.has(member)) return `${field}.${member}`
  return null
}

function foreignTool(tools: object): string | null {
  if (!Array.isArray(tools)) return 'tools'
  for (let i = 0; i < tools.length; i++) {
    const type: unknown = tools[i]?.type
    if (type !== undefined && !toolTypes.has(type)) return `tools[${i}].type`
  }
  return null
}
