/** The model catalogue: what can be named in `model_id`, as data, and how a name becomes weights on this disk. */
import { readFileSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import type { ModelFiles } from '../engines/contract.ts'
import { Fault } from '../kernel/fault.ts'
import { packageRoot } from '../runtime/self.ts'
import { hubFiles } from './hub/files.ts'
import { isHubName } from './hub/name.ts'
import type { HubSource } from './hub/pin.ts'
import { localModel } from './local-file.ts'

export type ModelSource = { kind: 'shipped'; path: string } | { kind: 'hub'; repo: string }

export interface CatalogueModel {
  id: string
  title: string
  about: string
  source: ModelSource
  sourceRepo: string | null
  quantization: string
  capabilities: string[]
  /** Tokens. */
  contextSize: number
  tensorType: string
  gated: boolean
}

/** Weights ready to launch. `emulated`: something else answers in their place, see `standIn`. */
export interface ResolvedModel {
  files: ModelFiles
  emulated: boolean
}

export const starterModelId = 'paddock/starter'
/** Named as what answers where nothing is loaded at all. */
export const simulatedModelId = 'paddock/simulated'

export interface ModelPolicy {
  allowPaths: readonly string[]
  /** On the emulated fleet the starter stands in for catalogue models whose weights cannot be had. */
  starterStandsIn: boolean
  /** On the simulated fleet no weights are needed, and none are loaded. */
  simulated?: boolean
  /** Where files of the Hub are kept; absent: there is no Hub. */
  hubFolder?: string
}

export class ModelCatalogue {
  readonly #models: ReadonlyMap<string, CatalogueModel>
  readonly #policy: ModelPolicy
  constructor(models: readonly CatalogueModel[], policy: ModelPolicy) {
    this.#models = new Map(models.map((model) => [model.id, model]))
    this.#policy = policy
  }

  all(): CatalogueModel[] {
    return [...this.#models.values()]
  }

  /** Why this model cannot be deployed here; null = it can. */
  obstacle(model: CatalogueModel): string | null {
    const { starterStandsIn, simulated } = this.#policy
    if (model.source.kind === 'shipped' || starterStandsIn || simulated) return null
    return `The weights of ${model.sourceRepo} are not on this server.`
  }

  /** Id of the model that answers in the place of this one here; null = it answers itself. */
  standIn(modelId: string): string | null {
    if (this.#policy.simulated) return simulatedModelId
    const model = this.#models.get(modelId)
    return model && model.source.kind !== 'shipped' && this.#policy.starterStandsIn ? starterModelId : null
  }

  /**
   * Weights for a `model_id`: catalogue id, absolute path of an allowed local GGUF, or what it was pinned to on the Hub.
   * Throws Fault `model_not_supported`, `model_path_not_allowed`, `model_file_unreadable` or `hub_off`.
   */
  resolve(modelId: string, source?: HubSource): ResolvedModel {
    if (isHubName(modelId)) return this.#fromHub(modelId, source)
    const model = this.#models.get(modelId)
    if (model) return this.#fromCatalogue(model)
    if (isAbsolute(modelId) || modelId.startsWith('file:') || modelId.endsWith('.gguf'))
      return { files: localModel(modelId, this.#policy.allowPaths), emulated: this.#policy.simulated === true }
    throw this.#unsupported(modelId, `"${modelId}" is not a model that this server can deploy.`)
  }

  #fromHub(modelId: string, source: HubSource | undefined): ResolvedModel {
    const { hubFolder, simulated = false } = this.#policy
    if (hubFolder === undefined || source === undefined)
      throw new Fault('hub_off', `${modelId} would come from a Hub, and this server uses none.`)
    return { files: hubFiles(modelId, source, hubFolder, simulated), emulated: simulated }
  }

  #fromCatalogue(model: CatalogueModel): ResolvedModel {
    const obstacle = this.obstacle(model)
    if (obstacle !== null) throw this.#unsupported(model.id, obstacle)
    if (this.#policy.simulated) return simulatedWeights(model)
    const shipped = model.source.kind === 'shipped' ? model : this.#models.get(starterModelId)!
    if (shipped.source.kind !== 'shipped') throw new Error(`${starterModelId} must ship with the package`)
    const path = join(packageRoot, shipped.source.path)
    const files = localModel(path, [packageRoot])
    return { files: { ...files, modelId: model.id }, emulated: shipped !== model }
  }

  #unsupported(modelId: string, message: string): Fault {
    const supported = this.all()
      .filter((model) => this.obstacle(model) === null)
      .map((model) => model.id)
    return new Fault('model_not_supported', message, { detail: { model_id: modelId, supported } })
  }
}

/** Whatever the format is, nobody reads it. */
function simulatedWeights({ id, contextSize }: CatalogueModel): ResolvedModel {
  return { files: { modelId: id, format: 'gguf', path: '', sizeBytes: 0, contextSize }, emulated: true }
}

interface Row {
  id: string
  title: string
  about: string
  source: ModelSource
  source_repo: string | null
  quantization: string
  capabilities: string[]
  context_size: number
  tensor_type: string
  gated: boolean
}

export function loadCatalogue(policy: ModelPolicy): ModelCatalogue {
  const rows = JSON.parse(readFileSync(join(import.meta.dirname, 'catalogue', 'models.json'), 'utf8')) as Row[]
  const models = rows.map(({ source_repo, context_size, tensor_type, ...rest }) => ({
    ...rest,
    sourceRepo: source_repo,
    contextSize: context_size,
    tensorType: tensor_type,
  }))
  return new ModelCatalogue(models, policy)
}
