/** The tools of a request, and which of them the answer must use. Pure. */
import { Fault } from '../../../kernel/fault.ts'

export interface Tool {
  name: string
  description: string
  /** JSON schema of its arguments. */
  parameters: unknown
  /** Its arguments must be valid under the schema, whatever that takes. */
  strict: boolean
}

export interface ToolUse {
  tools: Tool[]
  /** `auto`: the model may call; `required`: it must. `tools` are then those that it may choose from. */
  choice: 'auto' | 'required'
  parallel: boolean
}

export const toolsMaximum = 128
/** Of one JSON schema. */
export const schemaCharactersMaximum = 256 * 1024

/** null = the answer is text. Throws Faults `invalid_request` and `engine_unsupported`. */
export function readToolUse(fields: Record<string, unknown>): ToolUse | null {
  const tools = readTools(fields.tools)
  const choice = fields.tool_choice ?? 'auto'
  if (tools.length === 0) {
    if (choice !== 'none' && choice !== 'auto')
      throw wrong('tool_choice', 'tool_choice asks for a tool; tools has none.')
    return null
  }
  const { parallel_tool_calls: parallel = true } = fields
  if (parallel !== null && typeof parallel !== 'boolean')
    throw wrong('parallel_tool_calls', 'parallel_tool_calls must be true or false.')
  if (choice === 'none') return null
  if (choice === 'auto' || choice === 'required') return { tools, choice, parallel: parallel !== false }
  if (isObject(choice) && choice.type === 'allowed_tools')
    return allowed(tools, choice.allowed_tools, parallel !== false)
  return { tools: [chosen(tools, choice)], choice: 'required', parallel: false }
}

/** Some of them, as if the others were not there. */
function allowed(tools: readonly Tool[], value: unknown, parallel: boolean): ToolUse {
  const { mode, tools: named } = isObject(value) ? value : {}
  if ((mode !== 'auto' && mode !== 'required') || !Array.isArray(named) || named.length === 0)
    throw wrong('tool_choice', 'tool_choice.allowed_tools must be {"mode": "auto" or "required", "tools": […]}.')
  const wanted = new Set(named.map((one) => chosen(tools, one)))
  return { tools: [...wanted], choice: mode, parallel }
}

function chosen(tools: readonly Tool[], choice: unknown): Tool {
  const named =
    isObject(choice) && choice.type === 'function' && isObject(choice.function) ? choice.function.name : null
  if (typeof named !== 'string')
    throw wrong(
      'tool_choice',
      'tool_choice must be none, auto, required, {"type": "function", "function": {"name"}} or allowed_tools.',
    )
  const tool = tools.find(({ name }) => name === named)
  if (tool === undefined)
    throw wrong('tool_choice', `tool_choice names ${named.slice(0, 64)}, which tools does not have.`)
  return tool
}

function readTools(value: unknown): Tool[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value) || value.length > toolsMaximum)
    throw wrong('tools', `tools must be a list of at most ${toolsMaximum}.`)
  const tools = value.map(readTool)
  const twice = tools.find(({ name }, at) => tools.findIndex((other) => other.name === name) !== at)
  if (twice !== undefined) throw wrong('tools', `tools has ${twice.name} twice.`)
  return tools
}

function readTool(value: unknown, index: number): Tool {
  const where = `tools[${index}]`
  if (!isObject(value) || value.type !== 'function' || !isObject(value.function)) {
    if (isObject(value) && typeof value.type === 'string' && value.type !== 'function')
      throw new Fault('engine_unsupported', `${where}: the embedded engine knows tools of type function only.`, {
        detail: { param: 'tools' },
      })
    throw wrong('tools', `${where} must be {"type": "function", "function": {"name", "parameters"}}.`)
  }
  const { name, description, parameters, strict } = value.function
  if (typeof name !== 'string' || !/^[\w.-]{1,64}$/.test(name))
    throw wrong('tools', `${where}.function.name must be 1 to 64 letters, digits, "_", "-" or ".".`)
  if (description !== undefined && description !== null && typeof description !== 'string')
    throw wrong('tools', `${where}.function.description must be a string.`)
  if (parameters !== undefined && parameters !== null && !isObject(parameters))
    throw wrong('tools', `${where}.function.parameters must be a JSON schema.`)
  if (JSON.stringify(parameters ?? {}).length > schemaCharactersMaximum)
    throw wrong('tools', `${where}.function.parameters is longer than ${schemaCharactersMaximum} characters.`)
  return {
    name,
    description: description ?? '',
    parameters: parameters ?? { type: 'object', properties: {} },
    strict: strict === true,
  }
}

/** As OpenAI writes it, which is what chat templates read. */
export function toolBody({ name, description, parameters }: Tool): object {
  return { type: 'function', function: { name, description, parameters } }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function wrong(param: string, message: string): Fault {
  return new Fault('invalid_request', message, { detail: { param } })
}
