/** Who uses a model of the catalogue: deployments answer. */
import type { Tx } from '../store/database.ts'

export interface CatalogueUser {
  id: string
  name: string
  orgId: string
}

/** Of all organisations, those whose deployment names it or still has a replica of it; some of them when they are many. */
export type UsersOf = (tx: Tx, modelId: string) => Promise<CatalogueUser[]>
