/**
 * Does an adapter fit a model? By what it says that it was trained on, and by the shapes of the matrices that it
 * changes. Names that nobody can judge (a path on somebody's disk) say nothing; shapes decide. Pure.
 */
import { familyOf, sameName } from '../supported/judge.ts'
import type { AdapterFile } from './file.ts'

/** A model, as far as adapters are concerned. */
export interface BaseModel {
  /** Every name under which its weights are known, and what they rest on; empty = nobody knows. */
  names: string[]
  /** In llama.cpp's words; null = it does not say. */
  architecture: string | null
  /** Inputs and outputs; null = it has no such matrix; undefined = nobody knows. */
  shapeOf(module: string): readonly [inputs: number, outputs: number] | null | undefined
}

/** Why not, in a sentence; null = it fits. `force`: whatever it says that it was trained on. */
export function mismatchOf(adapter: AdapterFile, base: BaseModel, force: boolean): string | null {
  return (
    (force ? null : lineageProblem(adapter, base)) ?? architectureProblem(adapter, base) ?? shapeProblem(adapter, base)
  )
}

function lineageProblem({ bases }: AdapterFile, { names }: BaseModel): string | null {
  const said = bases.filter(isHubName)
  if (said.length === 0 || names.length === 0) return null
  if (said.some((base) => names.some((name) => sameName(base, name)))) return null
  return `It was trained on ${shown(said[0]!)}; this deployment serves ${shown(names[0]!)}.`
}

/** `owner/name`, or an address of one. */
function isHubName(base: string): boolean {
  return /^(https?:\/\/[^/]+\/)?[\w.-]+\/[\w.-]+\/?$/.test(base) && !/^\.{0,2}\//.test(base)
}

function architectureProblem(adapter: AdapterFile, base: BaseModel): string | null {
  if (adapter.architecture === null || base.architecture === null) return null
  if (familyOf(adapter.architecture) === familyOf(base.architecture)) return null
  return `It is for the architecture ${shown(adapter.architecture)}; the model is ${shown(base.architecture)}.`
}

function shapeProblem({ changes }: AdapterFile, base: BaseModel): string | null {
  for (const { module, inputs, outputs } of changes) {
    const shape = base.shapeOf(module)
    if (shape === undefined) continue
    if (shape === null) return `It changes ${shown(module)}, which the model does not have.`
    if (shape[0] !== inputs || shape[1] !== outputs)
      return `It changes ${shown(module)} from ${inputs} to ${outputs} channels; the model's has ${shape[0]} to ${shape[1]}.`
  }
  return null
}

/** It comes from a file: short, and without what could disturb a terminal. */
function shown(name: string): string {
  return JSON.stringify(name.slice(0, 200))
}
