/** Uploaded models as something to deploy. */
import { ComputeError } from '../../compute/contract.ts'
import type { ModelFiles } from '../../engines/contract.ts'
import { Fault } from '../../kernel/fault.ts'
import { never } from '../../kernel/never.ts'
import type { Querier } from '../../store/database.ts'
import type { ResolvedModel } from '../catalogue.ts'
import type { OwnModels } from '../own.ts'
import type { Copies } from './copies.ts'
import { uploadPrefix } from './names.ts'
import { type UploadRow, uploadNamed } from './store.ts'

export class UploadSource implements OwnModels {
  readonly prefix = uploadPrefix
  readonly #copies: Copies
  readonly #simulated: boolean
  constructor(copies: Copies, { simulated }: { simulated: boolean }) {
    this.#copies = copies
    this.#simulated = simulated
  }

  async find(db: Querier, orgId: string, modelId: string): Promise<ResolvedModel> {
    const row = await this.#ready(db, orgId, modelId)
    const named = { format: 'gguf' as const, seesPictures: false, shape: row.facts?.shape ?? null }
    return { files: this.#files(row, modelId), emulated: this.#simulated, named }
  }

  async bring(db: Querier, orgId: string, modelId: string): Promise<ModelFiles> {
    const row = await this.#ready(db, orgId, modelId)
    if (this.#simulated) return this.#files(row, modelId)
    const bytes = Number(row.size_bytes)
    const found = await this.#copies.ask({ id: row.id, bytes, sha256: row.sha256 })
    if ('path' in found) return { ...this.#files(row, modelId), path: found.path }
    throw new ComputeError('not_ready', `${modelId} is being fetched: ${found.bytes} of ${bytes} bytes are here.`)
  }

  async #ready(db: Querier, orgId: string, modelId: string): Promise<UploadRow> {
    const row = await uploadNamed(db, orgId, modelId.slice(uploadPrefix.length))
    const obstacle = row === null ? 'There is no such model in this organisation' : obstacleOf(row)
    if (row !== null && obstacle === null) return row
    throw new Fault('model_not_supported', `${modelId.slice(0, 80)} cannot be deployed: ${lower(obstacle!)}.`, {
      action: 'See GET /models for what can be deployed.',
      detail: { model_id: modelId.slice(0, 80) },
    })
  }

  #files({ id, size_bytes, facts }: UploadRow, modelId: string): ModelFiles {
    const path = this.#copies.pathOf(id)
    return { modelId, format: 'gguf', path, sizeBytes: Number(size_bytes), contextSize: facts?.contextSize ?? 0 }
  }
}

/** Why it cannot be deployed, a sentence without its full stop; null = it can. */
export function obstacleOf(row: Pick<UploadRow, 'status' | 'facts'>): string | null {
  const isAdapter = row.status === 'ready' && row.facts?.kind === 'adapter'
  return isAdapter ? 'It is a LoRA adapter, which is put beside a model' : stageObstacleOf(row)
}

/** Why it is not there yet, or not any more; null = it is ready. */
export function stageObstacleOf({ status }: Pick<UploadRow, 'status'>): string | null {
  switch (status) {
    case 'uploading':
      return 'It is still being uploaded'
    case 'validating':
      return 'It is still being checked'
    case 'failed':
      return 'Its upload failed'
    case 'deleting':
      return 'It was deleted'
    case 'ready':
      return null
    default:
      return never(status, 'status of an upload')
  }
}

function lower(sentence: string): string {
  return sentence.charAt(0).toLowerCase() + sentence.slice(1)
}
