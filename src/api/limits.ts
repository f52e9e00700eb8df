/** Routes of a deployment's limits, and of its SLA, whose concurrency limit is one of them. */
import { changeLimits, changeSla, limits, renderSla, sla, slaFrom } from '../wire/native/limits.ts'
import { endpoint } from './endpoint.ts'

const tag = 'Limits'
const path = '/deployments/{id}'

export const limitEndpoints = [
  endpoint({
    id: 'getLimits',
    method: 'get',
    path: `${path}/limits`,
    tag,
    summary: 'Get the limits of a deployment',
    answer: limits,
    run: async ({ principal, param, parts }) => parts.limits.get(principal, param('id')),
  }),
  endpoint({
    id: 'changeLimits',
    method: 'patch',
    path: `${path}/limits`,
    tag,
    summary: 'Change the limits of a deployment',
    description:
      'Of all requests to it, whichever key they come with; a key has limits of its own. What is absent stays as it is, null takes a limit away. Counts at once, without a new revision.',
    body: changeLimits,
    answer: limits,
    run: async ({ principal, param, body, once, parts }) => parts.limits.change(principal, param('id'), body, once),
  }),
  endpoint({
    id: 'getSla',
    method: 'get',
    path: `${path}/sla`,
    tag,
    summary: 'Get what a deployment promises',
    answer: sla,
    run: async ({ principal, param, parts }) => renderSla(await parts.limits.get(principal, param('id'))),
  }),
  endpoint({
    id: 'changeSla',
    method: 'patch',
    path: `${path}/sla`,
    tag,
    summary: 'Change what a deployment promises',
    description: '`concurrency_limit` is the same as `concurrency` among its limits.',
    body: changeSla,
    answer: sla,
    run: async ({ principal, param, body, once, parts }) =>
      renderSla(await parts.limits.change(principal, param('id'), slaFrom(body), once)),
  }),
]
