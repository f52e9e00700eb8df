/** Routes of API keys and organisations. */
import { z } from 'zod'
import {
  apiKey,
  changedKey,
  changeKey,
  changeQuota,
  createdKey,
  createKey,
  createOrg,
  org,
  orgQuota,
  renderKey,
  renderOrg,
  renderOrgQuota,
  revokedKey,
} from '../wire/native/account.ts'
import { listOf, pageQuery } from '../wire/native/fields.ts'
import { endpoint, paged, whole } from './endpoint.ts'

export const accountEndpoints = [
  endpoint({
    id: 'createApiKey',
    method: 'post',
    path: '/api-keys',
    tag: 'API keys',
    summary: 'Create an API key',
    description: 'The secret is in this answer and nowhere else.',
    creates: true,
    body: createKey,
    answer: createdKey,
    run: async ({ principal, body, once, parts }) => {
      const { expires_at, ...same } = body
      const wish = { ...same, ...(expires_at === undefined ? {} : { expiresAt: new Date(expires_at) }) }
      const { key, secret, propagated } = await parts.access.createKey(principal, wish, once)
      return { ...renderKey(key), secret, propagated }
    },
  }),
  endpoint({
    id: 'listApiKeys',
    method: 'get',
    path: '/api-keys',
    tag: 'API keys',
    summary: 'List API keys',
    query: z.strictObject(pageQuery),
    answer: listOf(apiKey),
    run: async ({ principal, query, parts }) => paged(await parts.access.listKeys(principal, query), renderKey),
  }),
  endpoint({
    id: 'getApiKey',
    method: 'get',
    path: '/api-keys/{id}',
    tag: 'API keys',
    summary: 'Get an API key',
    description: 'Revoked ones too.',
    answer: apiKey,
    run: async ({ principal, param, parts }) => renderKey(await parts.access.getKey(principal, param('id'))),
  }),
  endpoint({
    id: 'changeApiKey',
    method: 'patch',
    path: '/api-keys/{id}',
    tag: 'API keys',
    summary: 'Change the name, limits or priority of an API key',
    description: 'What is absent stays as it is; a limit that is null is taken away.',
    body: changeKey,
    answer: changedKey,
    run: async ({ principal, param, body, once, parts }) => {
      const { key, propagated } = await parts.access.changeKey(principal, param('id'), body, once)
      return { ...renderKey(key), propagated }
    },
  }),
  endpoint({
    id: 'revokeApiKey',
    method: 'delete',
    path: '/api-keys/{id}',
    tag: 'API keys',
    summary: 'Revoke an API key',
    description: 'New requests with it are refused everywhere before this answers, unless `propagated` is false.',
    answer: revokedKey,
    run: async ({ principal, param, parts }) => {
      const { propagated } = await parts.access.revokeKey(principal, param('id'))
      return { id: param('id'), revoked: true as const, propagated }
    },
  }),
  endpoint({
    id: 'createOrg',
    method: 'post',
    path: '/orgs',
    tag: 'Organisations',
    summary: 'Create an organisation',
    description: 'The operator only. Act in it with the header `X-Paddock-Org`.',
    creates: true,
    body: createOrg,
    answer: org,
    faults: ['name_taken'],
    run: async ({ principal, body, once, parts }) => {
      const made = await parts.access.createOrg(principal, body, once)
      return renderOrg(made, (await parts.quotas.of([made.id])).get(made.id)!)
    },
  }),
  endpoint({
    id: 'listOrgs',
    method: 'get',
    path: '/orgs',
    tag: 'Organisations',
    summary: 'List organisations',
    description: 'The operator sees all, everybody else their own.',
    answer: listOf(org),
    run: async ({ principal, parts }) => {
      const orgs = await parts.access.listOrgs(principal)
      const quotas = await parts.quotas.of(orgs.map(({ id }) => id))
      return whole(orgs.map((one) => renderOrg(one, quotas.get(one.id)!)))
    },
  }),
  endpoint({
    id: 'changeQuota',
    method: 'patch',
    path: '/orgs/{id}/quota',
    tag: 'Organisations',
    summary: 'Set how many GPUs an organisation may hold',
    description: 'The operator only. Less than it holds takes nothing away; it stops growth.',
    body: changeQuota,
    answer: orgQuota,
    run: async ({ principal, param, body, once, parts }) =>
      renderOrgQuota(param('id'), await parts.quotas.set(principal, param('id'), body.gpus, once)),
  }),
]
