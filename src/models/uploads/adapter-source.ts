/** Uploaded LoRA adapters as something to put beside a model. */
import type { AdapterFormat } from '../../engines/contract.adapters.ts'
import { Fault } from '../../kernel/fault.ts'
import type { Querier } from '../../store/database.ts'
import { readAdapter } from '../adapters/read.ts'
import type { AdapterOrigin, AdapterSource, BringOrder, Brought, PinnedAdapter } from '../adapters/sources.ts'
import type { Copies } from './copies.ts'
import { uploadPrefix } from './names.ts'
import { stageObstacleOf, wholeOf } from './source.ts'
import { type UploadRow, uploadNamed } from './store.ts'

export class UploadedAdapters implements AdapterSource {
  readonly prefix = uploadPrefix
  readonly kind = 'upload'
  readonly #copies: Copies
  constructor(copies: Copies) {
    this.#copies = copies
  }

  /** It is GGUF, as all uploads are. Its head tells more than is kept of it, so it is read where it is stored. */
  async pin(db: Querier, orgId: string, source: string, _format: AdapterFormat): Promise<PinnedAdapter> {
    const row = await readyOf(db, orgId, source)
    const origin = originOf(row)
    return { file: await this.#copies.reading(wholeOf(row), readAdapter), origin }
  }

  /** From here on it cannot be deleted: whoever deletes looks first who uses it, one after the other. */
  async hold(tx: Querier, orgId: string, source: string, origin: AdapterOrigin): Promise<void> {
    const row = await readyOf(tx, orgId, source)
    if (origin.kind !== 'upload' || row.id !== origin.id)
      throw new Fault('conflict', `${source} was changed by somebody else at the same time.`)
  }

  async bring(origin: AdapterOrigin, order: BringOrder): Promise<Brought> {
    if (origin.kind !== 'upload') throw new Error(`${origin.kind} is no upload`)
    const { id, sizeBytes: bytes, sha256 } = origin
    return this.#copies.ask({ id, name: null, bytes, sha256 }, order)
  }

  leave(replicaId: string): void {
    this.#copies.leave(replicaId)
  }
}

type UploadOrigin = Extract<AdapterOrigin, { kind: 'upload' }>

function originOf({ id, size_bytes, sha256 }: UploadRow): UploadOrigin {
  return { kind: 'upload', id, sizeBytes: Number(size_bytes), sha256: sha256! }
}

async function readyOf(db: Querier, orgId: string, source: string): Promise<UploadRow> {
  const row = await uploadNamed(db, orgId, source.slice(uploadPrefix.length))
  const shown = source.slice(0, 80)
  if (row === null)
    throw new Fault('adapter_not_supported', `There is no ${shown} in this organisation.`, {
      action: 'Upload the adapter first, as GGUF, with POST /models/upload.',
    })
  const obstacle = stageObstacleOf(row)
  if (obstacle !== null) throw new Fault('conflict', `${shown} cannot be used: ${obstacle}.`)
  if (row.facts?.kind === 'adapter') return row
  throw new Fault('adapter_unreadable', `This is not a usable LoRA adapter: ${shown} is a model.`, {
    action: 'Deploy it as a model; name an adapter here.',
    detail: { reason: `${shown} is a model` },
  })
}
