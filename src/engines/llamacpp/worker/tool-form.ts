/**
 * How a model writes the calls of tools, by its chat template: between tags (Hermes, Qwen), as a list after a mark
 * (Mistral), as the answer itself (Llama 3). Where the template knows no tools, or writes calls in a way that is not known
 * here, the tools are described in a message and calls stand between tags. Pure.
 */

import { Fault } from '../../../kernel/fault.ts'
import type { ChatMessage } from './chat-template.ts'
import { literal } from './either-text.ts'
import { type GrammarPart, partOfSchema, rulesMaximum, writeGrammar } from './json-grammar.ts'
import { characters, gap } from './think-grammar.ts'
import { type Tool, type ToolUse, toolBody } from './tools.ts'

export interface ToolForm {
  /** What begins a call; '' = its JSON does. */
  open: string
  /** What ends it; '' = the answer ends. */
  close: string
  /** The member that holds the arguments. */
  member: 'arguments' | 'parameters'
  /** All calls are in one list. */
  list: boolean
  /** The template writes tools, calls and their results itself. */
  native: boolean
}

const tagged: ToolForm = {
  open: '<tool_call>',
  close: '</tool_call>',
  member: 'arguments',
  list: false,
  native: true,
}
const afterMark: ToolForm = { open: '[TOOL_CALLS]', close: '', member: 'arguments', list: true, native: true }
const bare: ToolForm = { open: '', close: '', member: 'parameters', list: false, native: true }

/** Calls of one answer. */
const callsMaximum = 16

export function toolFormOf(template: string): ToolForm {
  const has = (text: string) => template.includes(text)
  if (/\btools\b/.test(template)) {
    if (has(tagged.open) && !has('<function=') && !has('<arg_key>')) return tagged
    if (has(afterMark.open) && !has('[ARGS]')) return afterMark
    if (has('ipython') && has('"parameters"')) return bare
  }
  return { ...tagged, native: false }
}

/**
 * What the calls must look like. `started`: the first one's opening was said already. Throws Fault `engine_unsupported` or
 * `invalid_request` when the schema of a strict tool cannot be kept.
 */
export function callsGrammar(form: ToolForm, use: ToolUse, first: GrammarPart, started: boolean): string {
  const rules = new Map(first.rules)
  const parts = use.tools.map((tool, at) => {
    const part = callPart(form, tool, at, rulesMaximum - rules.size)
    for (const [name, body] of part.rules) rules.set(name, body)
    return part
  })
  rules.set('call', parts.map(({ body }) => body).join(' | '))
  const opening = form.open === '' ? '' : characters(form.open)
  const closing = form.close === '' ? '' : `${gap} ${characters(form.close)}`
  const more = use.parallel ? `{0,${callsMaximum - 1}}` : '{0,0}'
  const one = `${gap} call ${closing}`
  const all = form.list
    ? `${gap} "[" space call ( "," space call )${more} space "]"`
    : form.close === ''
      ? one
      : `${one} ( ${gap} ${opening} ${one} )${more}`
  return writeGrammar(started ? all : `${first.body} ${gap} ${opening} ${all}`, rules)
}

function callPart({ member }: ToolForm, tool: Tool, at: number, rulesLeft: number): GrammarPart {
  const { body, rules } = argumentsPart(tool, `t${at}`, rulesLeft)
  const name = literal(JSON.stringify(tool.name))
  return { body: `"{" space "\\"name\\":" space ${name} "," space "\\"${member}\\":" space ${body} space "}"`, rules }
}

/** A schema that the grammar cannot keep is let go, unless the tool is strict: then any object may follow. */
function argumentsPart(tool: Tool, prefix: string, rulesLeft: number): GrammarPart {
  try {
    return partOfSchema(tool.parameters, prefix, rulesLeft)
  } catch (error) {
    if (!(error instanceof Fault) || !tool.strict) return { body: 'object', rules: new Map() }
    const message = error.message.replace(/response_format[.\w]*/, `the parameters of ${tool.name}`)
    throw new Fault(error.code, message, { detail: { param: 'tools' } })
  }
}

/** The messages for a template that does not know tools. */
export function withoutTools(messages: readonly ChatMessage[], use: ToolUse | null): ChatMessage[] {
  const plain = messages.map(plainMessage)
  if (use === null) return plain
  const [first, ...rest] = plain
  const described = description(use)
  if (first?.role !== 'system') return [{ role: 'system', content: described }, ...plain]
  return [{ role: 'system', content: `${first.content}\n\n${described}` }, ...rest]
}

function plainMessage(message: ChatMessage): ChatMessage {
  const { role, content, tool_calls: calls = [] } = message
  if (role === 'tool') return { role: 'user', content: `<tool_response>\n${content}\n</tool_response>` }
  if (calls.length === 0) return message
  const said = calls.map(({ function: call }) => `${tagged.open}\n${JSON.stringify(call)}\n${tagged.close}`)
  return { role, content: [content, ...said].filter(Boolean).join('\n') }
}

function description({ tools, choice }: ToolUse): string {
  const when = choice === 'required' ? 'Answer with' : 'When one of them helps, answer with'
  return [
    'These functions can be called:',
    ...tools.map((tool) => JSON.stringify(toolBody(tool))),
    `${when} the call alone, its arguments valid under its parameters:`,
    `${tagged.open}\n{"name": "…", "arguments": {…}}\n${tagged.close}`,
  ].join('\n')
}
