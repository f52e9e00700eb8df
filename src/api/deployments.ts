/** Routes of deployments: parse → one command → render. */
import { z } from 'zod'
import { createDeployment, deployment, renderDeployment, wishFrom } from '../wire/native/deployment.ts'
import {
  event,
  explanation,
  renderEvent,
  renderExplanation,
  renderReplica,
  replica,
  replicaLog,
} from '../wire/native/explanation.ts'
import { listOf, moment, pageQuery, plainText, queryFlag } from '../wire/native/fields.ts'
import { prediction, renderPrediction } from '../wire/native/prediction.ts'
import { endpoint, paged, whole } from './endpoint.ts'
import { adapterFaults, hubFaults } from './lifecycle.ts'

const tag = 'Deployments'
const path = '/deployments/{id}'
const logLinesMaximum = 1000
const logLinesDefault = 200

export const deploymentEndpoints = [
  endpoint({
    id: 'createDeployment',
    method: 'post',
    path: '/deployments',
    tag,
    summary: 'Create a deployment',
    description:
      'Answers at once with `status: "provisioning"`; poll the deployment until it is `active`. With `dry_run` nothing is created: the answer, with status 200, says whether it fits, what it would cost, and what would do better.',
    creates: true,
    query: z.strictObject({ dry_run: queryFlag.meta({ description: '`true`: the same as `dry_run` in the body.' }) }),
    body: createDeployment,
    answer: deployment,
    preview: prediction,
    faults: [
      'name_taken',
      'hardware_absent',
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
      'capacity_short',
      ...hubFaults,
      ...adapterFaults,
      'conflict',
    ],
    run: async ({ principal, query, body, once, parts }) => {
      const wish = wishFrom(body)
      if (query.dry_run || body.dry_run) return renderPrediction(await parts.deployments.predict(principal, wish))
      return renderDeployment(await parts.deployments.create(principal, wish, once), parts.config.publicUrl)
    },
  }),
  endpoint({
    id: 'listDeployments',
    method: 'get',
    path: '/deployments',
    tag,
    summary: 'List your deployments',
    query: z.strictObject({
      ...pageQuery,
      deleted: queryFlag.meta({ description: '`true`: the deleted ones instead.' }),
    }),
    answer: listOf(deployment),
    run: async ({ principal, query, parts }) =>
      paged(await parts.deployments.list(principal, query), (view) => renderDeployment(view, parts.config.publicUrl)),
  }),
  endpoint({
    id: 'getDeployment',
    method: 'get',
    path,
    tag,
    summary: 'Get a deployment',
    description: 'By id or by name.',
    answer: deployment,
    run: async ({ principal, param, parts }) =>
      renderDeployment(await parts.deployments.get(principal, param('id')), parts.config.publicUrl),
  }),
  endpoint({
    id: 'deleteDeployment',
    method: 'delete',
    path,
    tag,
    summary: 'Tear a deployment down',
    description: 'At once; billing stops now. The record stays for billing and history, and its name becomes free.',
    query: z.strictObject({
      only_if_stopped: queryFlag.meta({ description: '`true`: refuse with 409 while it runs.' }),
    }),
    answer: deployment,
    faults: ['conflict'],
    run: async ({ principal, param, query, parts }) => {
      const options = { onlyIfStopped: query.only_if_stopped }
      return renderDeployment(await parts.deployments.remove(principal, param('id'), options), parts.config.publicUrl)
    },
  }),
  endpoint({
    id: 'explainDeployment',
    method: 'get',
    path: `${path}/explain`,
    tag,
    summary: 'Explain what a deployment is doing, and why',
    answer: explanation,
    run: async ({ principal, param, parts }) =>
      renderExplanation(await parts.deployments.explain(principal, param('id')), parts.config.publicUrl),
  }),
  endpoint({
    id: 'listReplicas',
    method: 'get',
    path: `${path}/replicas`,
    tag,
    summary: 'List the replicas of a deployment',
    answer: listOf(replica),
    run: async ({ principal, param, parts }) =>
      whole((await parts.deployments.replicas(principal, param('id'))).map(renderReplica)),
  }),
  endpoint({
    id: 'listEvents',
    method: 'get',
    path: `${path}/events`,
    tag,
    summary: 'List what happened to a deployment',
    query: z.strictObject({
      ...pageQuery,
      type: plainText(60).optional().meta({ description: 'Only these.', example: 'deployment.scaled' }),
      since: moment.optional().meta({ description: 'From this moment on.' }),
      until: moment.optional().meta({ description: 'Before this moment.' }),
    }),
    answer: listOf(event),
    run: async ({ principal, param, query, parts }) =>
      paged(await parts.deployments.events(principal, param('id'), query), renderEvent),
  }),
  endpoint({
    id: 'readLogs',
    method: 'get',
    path: `${path}/logs`,
    tag,
    summary: 'Read what the engines of a deployment wrote',
    query: z.strictObject({
      lines: z.coerce
        .number()
        .int()
        .min(1)
        .max(logLinesMaximum)
        .default(logLinesDefault)
        .meta({ description: 'Newest lines per replica.' }),
    }),
    answer: listOf(replicaLog),
    run: async ({ principal, param, query, parts }) => {
      const logs = await parts.deployments.logs(principal, param('id'), query.lines)
      return whole(logs.map(({ replicaId, lines }) => ({ replica_id: replicaId, lines })))
    },
  }),
]
