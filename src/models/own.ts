/** Models that belong to an organisation, named by a prefix: what they are is asked of wherever they are. */
import type { ModelFiles } from '../engines/contract.ts'
import type { Querier } from '../store/database.ts'
import type { ResolvedModel } from './catalogue.ts'

export interface OwnModels {
  /** Of the names it answers for, e.g. `byom:`. */
  prefix: string
  /** Throws Faults that say why it cannot be deployed. */
  find(db: Querier, orgId: string, modelId: string): Promise<ResolvedModel>
  /** Its files on this machine, or with what has to be brought. Throws Faults. */
  bring(db: Querier, orgId: string, modelId: string): Promise<ModelFiles>
}
