/** What uploads ask of those who use them; deployments answer. */
import type { Principal } from '../../access/permissions.ts'
import type { Tx } from '../../store/database.ts'

export interface ModelUsers {
  /** The id of a deployment that may roll to an uploaded model. Throws Faults: not there, not allowed, its engine cannot. */
  check(principal: Principal, idOrName: string): Promise<string>
  /** Names of the deployments that need it; nobody can begin to before the transaction ends. */
  using(tx: Tx, orgId: string, modelId: string): Promise<string[]>
  /** Rolls to it; again changes nothing. Throws Faults that will not pass by themselves. */
  roll(order: { orgId: string; deploymentId: string; modelId: string; byKey: string }): Promise<void>
}
