/** The messages of a chat request: roles that a chat template knows, content as text. Pure. */
import { Fault } from '../../../kernel/fault.ts'
import type { ChatMessage, MessageCall } from './chat-template.ts'
import { nestingMaximum, nestsDeeper } from './nesting.ts'

/** `developer` is OpenAI's newer word for system. */
const roles: Record<string, ChatMessage['role']> = {
  system: 'system',
  developer: 'system',
  user: 'user',
  assistant: 'assistant',
  tool: 'tool',
}

/** Throws Fault `invalid_request` for a wrong shape, `engine_unsupported` for media. */
export function readMessages(value: unknown): ChatMessage[] {
  if (!Array.isArray(value) || value.length === 0)
    throw wrongMessages('messages must be a list with at least one message.')
  return value.map(readMessage)
}

function readMessage(value: unknown, index: number): ChatMessage {
  const where = `messages[${index}]`
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw wrongMessages(`${where} must be an object with role and content.`)
  const message = value as Record<string, unknown>
  if (message.role === 'function' || isPresent(message.function_call))
    throw unsupportedMessages(`${where}: functions are tools now; send role tool and tool_calls.`)
  const role = typeof message.role === 'string' && Object.hasOwn(roles, message.role) ? roles[message.role] : undefined
  if (role === undefined) throw wrongMessages(`${where}.role must be one of ${Object.keys(roles).join(', ')}.`)
  const calls = role === 'assistant' && isPresent(message.tool_calls) ? readCalls(message.tool_calls, where) : null
  const refusal = role === 'assistant' && typeof message.refusal === 'string' ? message.refusal : null
  const said = isPresent(message.content) ? message.content : (refusal ?? (calls === null ? message.content : ''))
  const content = readContent(said, where)
  const { reasoning_content: thought, tool_call_id: answers } = message
  return {
    role,
    content,
    ...(calls === null ? {} : { tool_calls: calls }),
    ...(role === 'assistant' && typeof thought === 'string' ? { reasoning_content: thought } : {}),
    ...(role === 'tool' && typeof answers === 'string' ? { tool_call_id: answers } : {}),
  }
}

function readCalls(value: unknown, where: string): MessageCall[] {
  if (!Array.isArray(value)) throw wrongMessages(`${where}.tool_calls must be a list.`)
  return value.map((entry, index) => {
    const { id, function: called } = (entry ?? {}) as {
      id?: unknown
      function?: { name?: unknown; arguments?: unknown }
    }
    if (typeof called?.name !== 'string' || typeof called.arguments !== 'string')
      throw wrongMessages(`${where}.tool_calls[${index}] must be {"id", "function": {"name", "arguments": string}}.`)
    const { name } = called
    return {
      id: typeof id === 'string' ? id : '',
      type: 'function',
      function: { name, arguments: readArguments(called.arguments) },
    }
  })
}

/** Templates write arguments as objects; what is none is left as it was said. */
function readArguments(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !nestsDeeper(value, nestingMaximum) ? value : text
  } catch {
    return text
  }
}

function readContent(value: unknown, where: string): string {
  if (typeof value === 'string') return value
  if (!Array.isArray(value)) throw wrongMessages(`${where}.content must be a string or a list of text parts.`)
  return value.map((part, index) => readPart(part, `${where}.content[${index}]`)).join('\n')
}

function readPart(value: unknown, where: string): string {
  const part = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
  if (part.type === 'text' && typeof part.text === 'string') return part.text
  if (part.type === 'refusal' && typeof part.refusal === 'string') return part.refusal
  if (typeof part.type === 'string' && part.type !== 'text')
    throw unsupportedMessages(`${where}: the embedded engine reads text only, not ${part.type.slice(0, 40)}.`)
  throw wrongMessages(`${where} must be {"type": "text", "text": string}.`)
}

function isPresent(value: unknown): boolean {
  return value !== undefined && value !== null && !(Array.isArray(value) && value.length === 0)
}

function wrongMessages(message: string): Fault {
  return new Fault('invalid_request', message, { detail: { param: 'messages' } })
}

function unsupportedMessages(message: string): Fault {
  return new Fault('engine_unsupported', message, { detail: { param: 'messages' } })
}
