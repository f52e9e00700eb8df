/** Uploaded models as something to deploy. */
import type { ModelFiles } from '../../engines/contract.ts'
import { Fault } from '../../kernel/fault.ts'
import { never } from '../../kernel/never.ts'
import type { Querier } from '../../store/database.ts'
import type { ResolvedModel } from '../catalogue.ts'
import type { OwnModels } from '../own.ts'
import type { Copies, Whole } from './copies.ts'
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
    return { files: this.#files(row, modelId), emulated: this.#simulated, named, uploadId: row.id }
  }

  async bring(db: Querier, orgId: string, modelId: string): Promise<ModelFiles> {
    const row = await this.#ready(db, orgId, modelId)
    return this.#files(row, modelId)
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

  #files(row: UploadRow, modelId: string): ModelFiles {
    const { path, remote } = this.#copies.files(wholeOf(row), row.org_id)
    // Where nobody reads it, nothing is brought.
    const brought = remote === undefined || this.#simulated ? {} : { remote }
    const contextSize = row.facts?.contextSize ?? 0
    return { modelId, format: 'gguf', path, sizeBytes: Number(row.size_bytes), contextSize, ...brought }
  }
}

/** Of one whose hash is known. */
export function wholeOf({
  id,
  name,
  size_bytes,
  sha256,
}: Pick<UploadRow, 'id' | 'name' | 'size_bytes' | 'sha256'>): Whole {
  return { id, name, bytes: Number(size_bytes), sha256: sha256! }
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
