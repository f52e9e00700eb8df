/**
 * Going back to a revision whose model was uploaded. A model may be deleted while only revisions of the past had it, and
 * its name may be another file's since; both are found when somebody goes back, before anything is changed.
 */
import { Fault } from '../kernel/fault.ts'
import { isUploadName } from '../models/uploads/names.ts'
import type { Tx } from '../store/database.ts'
import type { DeploymentContext } from './context.ts'
import type { DeploymentSpec } from './spec.ts'

/** Throws Fault `conflict`. */
export async function checkUploadKept(
  tx: Tx,
  { models }: Pick<DeploymentContext, 'models'>,
  orgId: string,
  { number, spec }: { number: number; spec: DeploymentSpec },
): Promise<void> {
  const { modelId, uploadId } = spec
  if (!isUploadName(modelId)) return
  const now = await models.findOwn(tx, orgId, modelId).catch((error: unknown) => {
    if (error instanceof Fault) return null
    throw error
  })
  if (now !== null && (uploadId === undefined || uploadId === now.uploadId)) return
  const why = now === null ? 'was deleted' : 'is another file now'
  throw new Fault('conflict', `Revision ${number} cannot come back: ${modelId} ${why}.`, {
    action: 'Upload its file again and give it to the deployment as its model_id, or roll back to another revision.',
    detail: { model_id: modelId, revision: number },
  })
}
