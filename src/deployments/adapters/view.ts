/** What others see of an adapter. Pure. */
import { allLimits, type Limits } from '../../access/limits.ts'
import type { AdapterFormat } from '../../engines/contract.adapters.ts'
import type { AdapterOrigin } from '../../models/adapters/sources.ts'
import type { AdapterState } from './plan.ts'
import type { AdapterRow, AdapterStateRow } from './store.ts'

export interface AdapterView {
  id: string
  name: string
  /** What requests say as `model`. */
  model: string
  source: string
  /** null = it does not come from there. */
  hub: { repo: string; revision: string; sha: string } | null
  format: AdapterFormat
  rank: number
  sizeBytes: number
  base: string | null
  limits: Limits
  state: AdapterState
  /** Those that serve, and how far each is. */
  replicas: { replicaId: string; state: AdapterState; detail: string | null; changedAt: Date | null }[]
  createdAt: Date
}

export function viewAdapter(
  deployment: { name: string },
  adapter: AdapterRow,
  states: readonly AdapterStateRow[],
  replicas: readonly { id: string; phase: string }[],
): AdapterView {
  const serving = replicas.filter(({ phase }) => phase === 'ready')
  const of = serving.map(({ id }) => {
    const row = states.find(({ adapter_id, replica_id }) => adapter_id === adapter.id && replica_id === id)
    const state: AdapterState = row?.state ?? 'pending'
    return { replicaId: id, state, detail: row?.detail ?? null, changedAt: row?.changed_at ?? null }
  })
  const { id, name, source, format, rank, base, created_at: createdAt } = adapter
  const sizeBytes = Number(adapter.size_bytes)
  const model = `${deployment.name}:${name}`
  const hub = adapter.origin?.kind === 'hub' ? hubOf(adapter.origin) : null
  const limits = allLimits(adapter.limits)
  const said = { id, name, model, source, hub, format, rank, sizeBytes, base, limits }
  return { ...said, state: stateOf(of), replicas: of, createdAt }
}

function hubOf({ repo, revision, sha }: Extract<AdapterOrigin, { kind: 'hub' }>): AdapterView['hub'] {
  return { repo, revision, sha }
}

/** Of all together: ready as soon as it is answered for. */
function stateOf(replicas: readonly { state: AdapterState }[]): AdapterState {
  const some = (state: AdapterState) => replicas.some((replica) => replica.state === state)
  if (some('ready')) return 'ready'
  if (some('loading')) return 'loading'
  return some('failed') && !some('pending') ? 'failed' : 'pending'
}
