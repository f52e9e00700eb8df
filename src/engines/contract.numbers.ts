/** The numbers of a spec that mean the same to vLLM and SGLang. Pure. */
import type { EngineSpec } from './contract.ts'

const contextMinimum = 64
const contextMaximum = 100_000_000
const sequencesMaximum = 4_096

/** Problems in sentences. `contextSize`: of the model; null = not known. */
export function numberProblems({ maxModelLen, maxNumSeqs }: EngineSpec, contextSize: number | null): string[] {
  const problems: string[] = []
  const longest = contextSize ?? contextMaximum
  if (maxModelLen !== undefined && !within(maxModelLen, Math.min(contextMinimum, longest), longest))
    problems.push(`engine.max_model_len must be ${Math.min(contextMinimum, longest)} to ${longest} for this model.`)
  if (maxNumSeqs !== undefined && !within(maxNumSeqs, 1, sequencesMaximum))
    problems.push(`engine.max_num_seqs must be 1 to ${sequencesMaximum}.`)
  return problems
}

function within(value: number, minimum: number, maximum: number): boolean {
  return Number.isInteger(value) && value >= minimum && value <= maximum
}
