/** Routes that change a deployment that exists: its settings, stop and start, revisions. */
import { z } from 'zod'
import type { FaultCode } from '../kernel/fault-table.ts'
import { deployment, renderDeployment, starting } from '../wire/native/deployment.ts'
import { listOf } from '../wire/native/fields.ts'
import { changeDeployment, changeFrom, renderRevision, restart, revision, rollback } from '../wire/native/revision.ts'
import { type Ask, endpoint, whole } from './endpoint.ts'

const tag = 'Deployments'
const path = '/deployments/{id}'
/** For a POST that says everything in its path. */
export const nothing = z.strictObject({})
/** The deployment as it is after what was asked. */
export async function changed({ principal, param, parts }: Ask): Promise<z.output<typeof deployment>> {
  return renderDeployment(await parts.deployments.get(principal, param('id')), parts.config.publicUrl)
}

/** What a repository of the Hub can be refused for. */
export const hubFaults: FaultCode[] = [
  'hub_off',
  'hub_token_missing',
  'hub_token_refused',
  'hub_access_not_granted',
  'hub_repo_not_found',
  'hub_revision_not_found',
  'hub_file_not_found',
  'hub_files_missing',
  'hub_no_weights',
  'hub_repo_disabled',
  'hub_too_large',
  'hub_unreachable',
  'hub_rate_limited',
]

/** What LoRA adapters can be refused for. */
export const adapterFaults: FaultCode[] = [
  'engine_unsupported',
  'adapter_unreadable',
  'adapter_not_supported',
  'adapter_unsuitable',
  'adapter_mismatch',
]

/** What a changed spec can be refused for. */
export const specFaults: FaultCode[] = [
  ...hubFaults,
  ...adapterFaults,
  'quota_exceeded',
  'model_not_supported',
  'model_path_not_allowed',
  'model_file_unreadable',
  'gpu_type_unknown',
  'gpu_count_unsupported',
  'price_not_set',
  'price_ceiling',
  'region_unknown',
  'engine_not_available',
  'does_not_fit',
]

export const lifecycleEndpoints = [
  endpoint({
    id: 'changeDeployment',
    method: 'patch',
    path,
    tag,
    summary: 'Change the settings of a deployment',
    description:
      'What changes how it runs makes a new revision and rolls to it; `replicas`, `scaling` and `limits` take effect without one. A revision that does not start gives way to the newest before it that worked. Replicas that run just so already stay. What has failed stays down until it is started.',
    body: changeDeployment,
    answer: deployment,
    faults: [...specFaults, 'downtime_not_allowed'],
    run: async (ask) => {
      await ask.parts.scaling.changeAll(ask.principal, ask.param('id'), changeFrom(ask.body), ask.once)
      return changed(ask)
    },
  }),
  endpoint({
    id: 'stopDeployment',
    method: 'post',
    path: `${path}/stop`,
    tag,
    summary: 'Stop a deployment',
    description: 'Frees its hardware and ends its cost; requests are refused until it is started. Its settings stay.',
    body: nothing,
    answer: deployment,
    run: async (ask) => {
      await ask.parts.lifecycle.stop(ask.principal, ask.param('id'), ask.once)
      return changed(ask)
    },
  }),
  endpoint({
    id: 'startDeployment',
    method: 'post',
    path: `${path}/start`,
    tag,
    summary: 'Start a stopped or failed deployment',
    body: starting,
    answer: deployment,
    faults: ['quota_exceeded', 'capacity_short'],
    run: async (ask) => {
      const options = { failFast: ask.body.fail_fast }
      await ask.parts.lifecycle.start(ask.principal, ask.param('id'), ask.once, options)
      return changed(ask)
    },
  }),
  endpoint({
    id: 'restartDeployment',
    method: 'post',
    path: `${path}/restart`,
    tag,
    summary: 'Replace the replicas of a deployment by new ones',
    description: 'A revision with the same settings, rolled in without a gap where there is room.',
    body: restart,
    answer: deployment,
    faults: ['quota_exceeded', 'downtime_not_allowed'],
    run: async (ask) => {
      const options = { allowDowntime: ask.body.allow_downtime ?? false }
      await ask.parts.lifecycle.restart(ask.principal, ask.param('id'), ask.once, options)
      return changed(ask)
    },
  }),
  endpoint({
    id: 'listRevisions',
    method: 'get',
    path: `${path}/revisions`,
    tag,
    summary: 'List the latest revisions of a deployment',
    answer: listOf(revision),
    run: async ({ principal, param, parts }) =>
      whole((await parts.lifecycle.revisions(principal, param('id'))).map(renderRevision)),
  }),
  endpoint({
    id: 'rollbackDeployment',
    method: 'post',
    path: `${path}/rollback`,
    tag,
    summary: 'Go back to the settings of an earlier revision',
    description: 'As a new revision, rolled to like any other.',
    body: rollback,
    answer: deployment,
    faults: ['conflict', 'downtime_not_allowed', 'quota_exceeded', 'price_ceiling'],
    run: async (ask) => {
      const { revision: number, allow_downtime: allowDowntime = false } = ask.body
      await ask.parts.lifecycle.rollback(ask.principal, ask.param('id'), number, ask.once, { allowDowntime })
      return changed(ask)
    },
  }),
]
