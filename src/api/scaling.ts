/** Routes of scaling: the policy, sleep and wake, what was decided. */
import { z } from 'zod'
import { deployment, starting } from '../wire/native/deployment.ts'
import { listOf, pageQuery } from '../wire/native/fields.ts'
import { changeScaling, decision, renderDecision, renderScaling, scaling, scalingFrom } from '../wire/native/scaling.ts'
import { endpoint, paged } from './endpoint.ts'
import { changed, nothing } from './lifecycle.ts'

const tag = 'Scaling'
const path = '/deployments/{id}'

export const scalingEndpoints = [
  endpoint({
    id: 'getScaling',
    method: 'get',
    path: `${path}/scaling`,
    tag,
    summary: 'Get how a deployment scales',
    answer: scaling,
    run: async ({ principal, param, parts }) => renderScaling(await parts.scaling.get(principal, param('id'))),
  }),
  endpoint({
    id: 'changeScaling',
    method: 'patch',
    path: `${path}/scaling`,
    tag,
    summary: 'Change how a deployment scales',
    description: 'What is absent stays as it is. Takes effect at once, without a new revision.',
    body: changeScaling,
    answer: scaling,
    faults: ['quota_exceeded', 'price_ceiling'],
    run: async ({ principal, param, body, once, parts }) =>
      renderScaling(await parts.scaling.change(principal, param('id'), scalingFrom(body), once)),
  }),
  endpoint({
    id: 'listDecisions',
    method: 'get',
    path: `${path}/scaling/decisions`,
    tag,
    summary: 'List what was decided about the number of replicas, and why',
    query: z.strictObject(pageQuery),
    answer: listOf(decision),
    run: async ({ principal, param, query, parts }) =>
      paged(await parts.scaling.decisions(principal, param('id'), query), renderDecision),
  }),
  endpoint({
    id: 'wakeDeployment',
    method: 'post',
    path: `${path}/wake`,
    tag,
    summary: 'Wake a sleeping deployment',
    description: 'As the next request would. One that is awake is left as it is.',
    body: starting,
    answer: deployment,
    faults: ['conflict', 'quota_exceeded', 'capacity_short'],
    run: async (ask) => {
      const options = { failFast: ask.body.fail_fast }
      await ask.parts.scaling.wake(ask.principal, ask.param('id'), ask.once, options)
      return changed(ask)
    },
  }),
  endpoint({
    id: 'sleepDeployment',
    method: 'post',
    path: `${path}/sleep`,
    tag,
    summary: 'Put a deployment to sleep',
    description: 'Frees its hardware and ends its cost; the next request wakes it and is answered.',
    body: nothing,
    answer: deployment,
    faults: ['conflict'],
    run: async (ask) => {
      await ask.parts.scaling.sleep(ask.principal, ask.param('id'), ask.once)
      return changed(ask)
    },
  }),
]
