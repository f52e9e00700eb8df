/** The route of real-time metrics. */
import { z } from 'zod'
import { deploymentMetrics, metricsQuery, renderMetrics } from '../wire/native/metrics.ts'
import { endpoint } from './endpoint.ts'

export const deploymentMetricsEndpoints = [
  endpoint({
    id: 'getMetrics',
    method: 'get',
    path: '/deployments/{id}/metrics',
    tag: 'Deployments',
    summary: 'Get what a deployment does right now',
    description:
      'All gateways together, two seconds behind at most. Averages and quantiles of nothing are null. What each figure means: docs/operate/metrics.md.',
    query: z.strictObject(metricsQuery),
    answer: deploymentMetrics,
    run: async ({ principal, param, query, parts }) =>
      renderMetrics(await parts.metrics.read(principal, param('id'), query.window)),
  }),
]
