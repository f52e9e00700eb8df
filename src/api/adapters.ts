/** Routes of a deployment's LoRA adapters. */
import { z } from 'zod'
import { adapter, adapterFrom, addAdapter, changeAdapter, renderAdapter } from '../wire/native/adapters.ts'
import { listOf, queryFlag } from '../wire/native/fields.ts'
import { endpoint, whole } from './endpoint.ts'
import { adapterFaults, hubFaults } from './lifecycle.ts'

const tag = 'Adapters'
const path = '/deployments/{id}/adapters'

export const adapterEndpoints = [
  endpoint({
    id: 'addAdapter',
    method: 'post',
    path,
    tag,
    summary: 'Add a LoRA adapter to a deployment',
    description:
      'While it serves, where its engine can; otherwise the deployment rolls. Answers at once; its state says when it can be called, as `model: "<deployment>:<name>"`. Every replica that comes later loads it before it gets its requests.',
    creates: true,
    body: addAdapter,
    answer: adapter,
    faults: [
      'name_taken',
      'conflict',
      'model_path_not_allowed',
      ...adapterFaults,
      ...hubFaults,
      'downtime_not_allowed',
    ],
    run: async ({ principal, param, body, once, parts }) => {
      const roll = { allowDowntime: body.allow_downtime ?? false }
      return renderAdapter(await parts.adapters.add(principal, param('id'), adapterFrom(body), once, roll))
    },
  }),
  endpoint({
    id: 'listAdapters',
    method: 'get',
    path,
    tag,
    summary: 'List the LoRA adapters of a deployment',
    answer: listOf(adapter),
    run: async ({ principal, param, parts }) =>
      whole((await parts.adapters.list(principal, param('id'))).map(renderAdapter)),
  }),
  endpoint({
    id: 'changeAdapter',
    method: 'patch',
    path: `${path}/{adapter}`,
    tag,
    summary: 'Change the limits of a LoRA adapter',
    description:
      'By name or id. Of requests that name it, in addition to the limits of its deployment and of the key. What is absent stays as it is, null takes a limit away. Counts at once; nothing is loaded anew.',
    body: changeAdapter,
    answer: adapter,
    run: async ({ principal, param, body, once, parts }) =>
      renderAdapter(await parts.adapters.change(principal, param('id'), param('adapter'), body, once)),
  }),
  endpoint({
    id: 'removeAdapter',
    method: 'delete',
    path: `${path}/{adapter}`,
    tag,
    summary: 'Remove a LoRA adapter from a deployment',
    description: 'By name or id. New requests for it are refused from now on; those under way run to their end.',
    query: z.strictObject({
      allow_downtime: queryFlag.meta({
        description: '`true`: where the engine has to be started anew, also when nobody answers meanwhile.',
      }),
    }),
    answer: adapter,
    faults: ['downtime_not_allowed'],
    run: async ({ principal, param, query, parts }) => {
      const roll = { allowDowntime: query.allow_downtime }
      return renderAdapter(await parts.adapters.remove(principal, param('id'), param('adapter'), roll))
    },
  }),
]
