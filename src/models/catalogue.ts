/**
 * The model catalogue: what can be named in `model_id`, and how a name becomes weights on this disk. What ships and what
 * the operator's file names is there from the start; what was added over the API comes from the database (commands.ts).
 */
import { readFileSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import type { ModelFiles } from '../engines/contract.ts'
import { Fault, toFault } from '../kernel/fault.ts'
import { packageRoot } from '../runtime/self.ts'
import type { Querier } from '../store/database.ts'
import { AdapterSources } from './adapters/sources.ts'
import {
  type AddedBy,
  type CatalogueModel,
  type ModelEntry,
  modelOf,
  quantisedAtLoad,
  type ShippedEntry,
} from './entry.ts'
import type { ModelShape } from './fit/shape.ts'
import { hubFiles } from './hub/files.ts'
import { isHubName } from './hub/name.ts'
import type { HubSource } from './hub/pin.ts'
import { type LocalModel, localModel, operatorsModel } from './local-file.ts'
import type { OwnModels } from './own.ts'
import { keepEntry } from './store.ts'
import { judgeArchitecture, type KnownBase } from './supported/judge.ts'

export type { CatalogueModel, ModelSource } from './entry.ts'

/** Weights ready to launch. `emulated`: something else answers in their place, see `standIn`. */
export interface ResolvedModel {
  files: ModelFiles
  emulated: boolean
  /** Of the model that is named, whatever answers in its place. */
  named: NamedModel
  /** Of an uploaded model. */
  uploadId?: string
}

/** What decides engine and memory. */
export interface NamedModel {
  format: ModelFiles['format']
  seesPictures: boolean
  /** null = nobody knows, and nothing is checked. */
  shape: ModelShape | null
  /** Its weights are made 8 bit while they are loaded. */
  eightBitAtLoad?: boolean
  /** Tokens, where the catalogue allows fewer than its repository says; its engine has to be told. */
  contextAllowed?: number
}

export interface ResolveOptions {
  /** Only looked at: a model of the Hub need not be pinned, and is as its entry says. */
  unpinned?: boolean
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

/** Names one of several files of a repository. */
const ggufType = /^I?Q\d(_[A-Z0-9]+)*$/i

export class ModelCatalogue {
  /** Where LoRA adapters come from, beside this disk. */
  readonly adapters = new AdapterSources()
  readonly #fixed: ReadonlyMap<string, CatalogueModel>
  #models: ReadonlyMap<string, CatalogueModel>
  readonly #policy: ModelPolicy
  readonly #own: OwnModels[] = []
  constructor(models: readonly CatalogueModel[], policy: ModelPolicy) {
    this.#fixed = new Map(models.map((model) => [model.id, model]))
    this.#models = this.#fixed
    this.#policy = policy
  }

  all(): CatalogueModel[] {
    return [...this.#models.values()]
  }

  /** Takes the place of all that were added over the API before. What ships or is in the operator's file goes first. */
  setAdded(models: readonly CatalogueModel[]): void {
    const added = models.filter(({ id }) => !this.#fixed.has(id))
    this.#models = new Map([...this.#fixed, ...added.map((model) => [model.id, model] as const)])
  }

  /** null = there is none of this id. */
  find(modelId: string): CatalogueModel | null {
    return this.#models.get(modelId) ?? null
  }

  /** Who put the model of this id there; null = there is none. */
  addedBy(modelId: string): AddedBy | null {
    return this.#models.get(modelId)?.addedBy ?? null
  }

  /** Why this model cannot be deployed here; null = it can. */
  obstacle(model: CatalogueModel): string | null {
    if (model.withheld !== null) return model.withheld
    if (model.source.kind !== 'hub' || !this.#isLoaded(model) || this.#policy.hubFolder !== undefined) return null
    return `The weights of ${model.sourceRepo} are not on this server.`
  }

  /** Its own weights are what is loaded here, wherever they come from: nothing stands in. */
  #isLoaded({ source }: CatalogueModel): boolean {
    const { starterStandsIn, simulated } = this.#policy
    return !simulated && (source.kind !== 'hub' || !starterStandsIn)
  }

  /** The name on the Hub that a `model_id` is pinned by here, before it is resolved; null = it does not come from there. */
  hubName(modelId: string): string | null {
    if (isHubName(modelId)) return modelId
    const model = this.#models.get(modelId)
    if (model?.source.kind !== 'hub' || model.withheld !== null || !this.#isLoaded(model)) return null
    const { repo, revision } = model.source
    const choice = model.isGguf && ggufType.test(model.tensorType) ? `/${model.tensorType}` : ''
    return this.#policy.hubFolder === undefined ? null : `hf:${repo}${choice}${revision === null ? '' : `@${revision}`}`
  }

  /** Id of the model that answers in the place of this one here; null = it answers itself. */
  standIn(modelId: string): string | null {
    if (this.#policy.simulated) return simulatedModelId
    const model = this.#models.get(modelId)
    return model?.source.kind === 'hub' && this.#policy.starterStandsIn ? starterModelId : null
  }

  /** What fine-tunes may rest on. */
  bases(): KnownBase[] {
    return this.all().flatMap(({ id, sourceRepo, shape }) =>
      shape === null ? [] : [{ id, repo: sourceRepo, architecture: shape.architecture }],
    )
  }

  /**
   * Weights for a `model_id`: catalogue id, absolute path of an allowed local GGUF file or folder of safetensors, or what
   * it was pinned to on the Hub. Throws Fault `model_not_supported`, `model_path_not_allowed`, `model_file_unreadable` or
   * `hub_off`.
   */
  resolve(modelId: string, source?: HubSource, options: ResolveOptions = {}): ResolvedModel {
    if (isHubName(modelId)) return this.#fromHub(modelId, source)
    const model = this.#models.get(modelId)
    if (model) return this.#fromCatalogue(model, source, options)
    if (isPath(modelId))
      return resolved(localModel(modelId, this.#policy.allowPaths, this.bases()), this.#policy.simulated === true)
    throw this.#unsupported(modelId, `"${modelId}" is not a model that this server can deploy.`)
  }

  #fromHub(modelId: string, source: HubSource | undefined): ResolvedModel {
    const { hubFolder, simulated = false } = this.#policy
    if (hubFolder === undefined || source === undefined)
      throw new Fault('hub_off', `${modelId} would come from a Hub, and this server uses none.`)
    const { format, architecture, shape } = source
    const judged = judgeArchitecture(format, architecture)
    const named = { format, seesPictures: judged.ok && judged.seesPictures, shape }
    return { files: hubFiles(modelId, source, hubFolder, simulated), emulated: simulated, named }
  }

  /** Models of organisations, found by their prefix. */
  addOwn(models: OwnModels): void {
    this.#own.push(models)
  }

  /** The organisation's own model of this name; null = no name of such a one. Throws Faults. */
  async findOwn(db: Querier, orgId: string, modelId: string): Promise<ResolvedModel | null> {
    return (await this.#ownerOf(modelId)?.find(db, orgId, modelId)) ?? null
  }

  /**
   * Whoever begins to use a model says so here, in the transaction that makes it so: until its end the model stays in the
   * catalogue. Throws Fault `model_not_supported` when somebody has removed it.
   */
  async keep(db: Querier, modelId: string): Promise<void> {
    // Not by what is known here: somebody may have removed it a moment ago.
    if (this.#fixed.has(modelId) || !this.#isEntryName(modelId) || (await keepEntry(db, modelId))) return
    throw this.#unsupported(modelId, `"${modelId}" was removed from the catalogue.`)
  }

  /** The files to launch, on this machine or with what has to be brought. Throws as `resolve` and `OwnModels.bring` do. */
  async bring(db: Querier, orgId: string, modelId: string, source?: HubSource): Promise<ModelFiles> {
    const own = await this.#ownerOf(modelId)?.bring(db, orgId, modelId)
    if (own) return own
    const { files } = this.resolve(modelId, source)
    return files.remote === undefined ? files : { ...files, remote: { ...files.remote, orgId } }
  }

  #isEntryName(modelId: string): boolean {
    return !isHubName(modelId) && !isPath(modelId) && this.#ownerOf(modelId) === undefined
  }

  #ownerOf(modelId: string): OwnModels | undefined {
    return this.#own.find(({ prefix }) => modelId.startsWith(prefix))
  }

  /** What a model of the catalogue needs, also one that cannot be deployed here. */
  named(model: CatalogueModel): NamedModel {
    if (model.source.kind === 'shipped' || model.source.kind === 'file') return namedOf(localOf(model))
    const sees = model.shape !== null && judgeArchitecture('safetensors', model.shape.architecture)
    const seesPictures = model.capabilities.includes('vision') || (sees !== false && sees.ok && sees.seesPictures)
    return { format: model.isGguf ? 'gguf' : 'safetensors', seesPictures, shape: model.shape }
  }

  #fromCatalogue(model: CatalogueModel, source: HubSource | undefined, options: ResolveOptions): ResolvedModel {
    const obstacle = this.obstacle(model)
    if (obstacle !== null) throw this.#unsupported(model.id, obstacle)
    if (this.hubName(model.id) !== null) return this.#entryFromHub(model, source, options)
    const named = this.named(model)
    if (this.#policy.simulated) return { files: simulatedWeights(model), emulated: true, named }
    const shipped = model.source.kind === 'hub' ? this.#models.get(starterModelId)! : model
    const { files } = localOf(shipped)
    const found = { files: { ...files, modelId: model.id }, emulated: shipped !== model, named }
    return model.source.kind === 'file' ? asTheEntryHasIt(model, found) : found
  }

  /** As pinned; the catalogue may allow less context than the repository does, and want its weights smaller. */
  #entryFromHub(model: CatalogueModel, source: HubSource | undefined, { unpinned }: ResolveOptions): ResolvedModel {
    const eightBitAtLoad = model.quantization === quantisedAtLoad
    if (source === undefined) {
      if (!unpinned) throw new Fault('conflict', `${model.id} was changed by somebody else at the same time.`)
      const { id, contextSize, shape } = model
      const sizeBytes = shape?.weightBytes ?? 0
      const format = model.isGguf ? 'gguf' : 'safetensors'
      const files: ModelFiles = { modelId: id, format, path: '', sizeBytes, contextSize }
      return { files, emulated: false, named: { ...this.named(model), ...(eightBitAtLoad ? { eightBitAtLoad } : {}) } }
    }
    const { files, named } = this.#fromHub(model.id, source)
    const seesPictures = named.seesPictures || model.capabilities.includes('vision')
    return asTheEntryHasIt(model, {
      files,
      emulated: false,
      named: { ...named, seesPictures, ...(eightBitAtLoad ? { eightBitAtLoad } : {}) },
    })
  }

  #unsupported(modelId: string, message: string): Fault {
    const supported = this.all()
      .filter((model) => this.obstacle(model) === null)
      .map((model) => model.id)
    return new Fault('model_not_supported', message, { detail: { model_id: modelId, supported } })
  }
}

/** The file that ships with us, or that the operator's entry names. */
function localOf({ id, source }: CatalogueModel): LocalModel {
  if (source.kind === 'shipped') return localModel(join(packageRoot, source.path), [packageRoot])
  if (source.kind !== 'file') throw new Error(`${id} is no file`)
  try {
    return operatorsModel(source.path)
  } catch (thrown) {
    // The message names a path of this server, which is nobody's business who only names the model.
    const fault = toFault(thrown)
    if (fault.code !== 'model_path_not_allowed' && fault.code !== 'model_file_unreadable') throw thrown
    throw new Fault('model_file_unreadable', `The file of ${id} cannot be read.`, { internal: fault.message })
  }
}

function isPath(modelId: string): boolean {
  return isAbsolute(modelId) || modelId.startsWith('file:') || modelId.endsWith('.gguf')
}

function resolved(model: LocalModel, emulated: boolean): ResolvedModel {
  return { files: model.files, emulated, named: namedOf(model) }
}

function namedOf({ files, shape, seesPictures = false }: LocalModel): NamedModel {
  return { format: files.format, seesPictures, shape }
}

/** An entry may allow less context than its weights know, and says how the model writes calls and thoughts. */
function asTheEntryHasIt(
  { contextSize: most, forms }: CatalogueModel,
  { files, named, emulated }: ResolvedModel,
): ResolvedModel {
  const contextSize = Math.min(files.contextSize, most)
  const { shape } = named
  return {
    files: { ...files, contextSize, ...(Object.keys(forms).length === 0 ? {} : { forms }) },
    emulated,
    named: {
      ...named,
      shape: shape && { ...shape, contextSize: Math.min(shape.contextSize, contextSize) },
      ...(contextSize < files.contextSize ? { contextAllowed: contextSize } : {}),
    },
  }
}

/** Whatever the format is, nobody reads it. */
function simulatedWeights({ id, contextSize }: CatalogueModel): ModelFiles {
  return { modelId: id, format: 'gguf', path: '', sizeBytes: 0, contextSize }
}

/** `own`: entries of the operator's file, which go before what ships under the same id. */
export function loadCatalogue(policy: ModelPolicy, own: readonly ModelEntry[] = []): ModelCatalogue {
  const path = join(import.meta.dirname, 'catalogue', 'models.json')
  const shipped = (JSON.parse(readFileSync(path, 'utf8')) as ShippedEntry[]).map((entry) => modelOf(entry, 'paddock'))
  return new ModelCatalogue([...shipped, ...own.map((entry) => modelOf(entry, 'file'))], policy)
}
