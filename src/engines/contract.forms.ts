/**
 * How a model writes what is not plain text, where its engine has to be told: calls of tools, and what it thinks first. In
 * words of ours; each engine has its own name for each. Pure.
 */
export const toolCallForms = ['llama3', 'llama4', 'hermes', 'mistral', 'deepseek_v3'] as const
export type ToolCallForm = (typeof toolCallForms)[number]

export const thoughtForms = ['deepseek_r1', 'qwen3'] as const
export type ThoughtForm = (typeof thoughtForms)[number]

/** Absent: it has none, or nobody knows. */
export interface Forms {
  toolCalls?: ToolCallForm
  thoughts?: ThoughtForm
}

export interface FormNames {
  toolCalls: Readonly<Record<ToolCallForm, string>>
  thoughts: Readonly<Record<ThoughtForm, string>>
  /** What goes with a parser of calls. */
  withToolCalls: readonly string[]
}

/** Arguments for a launch line; what somebody added themselves is theirs alone. */
export function formArgs({ toolCalls, thoughts }: Forms, names: FormNames, added: readonly string[]): string[] {
  const args: string[] = []
  if (toolCalls !== undefined) {
    args.push(...names.withToolCalls.filter((name) => !added.includes(name)))
    if (!added.includes('--tool-call-parser')) args.push('--tool-call-parser', names.toolCalls[toolCalls])
  }
  if (thoughts !== undefined && !added.includes('--reasoning-parser'))
    args.push('--reasoning-parser', names.thoughts[thoughts])
  return args
}
