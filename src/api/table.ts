/** The one list of routes that control serves under the base path. A new noun adds its line here. */
import { accountEndpoints } from './account.ts'
import { adapterEndpoints } from './adapters.ts'
import { catalogueEndpoints } from './catalogue.ts'
import { deploymentMetricsEndpoints } from './deployment-metrics.ts'
import { deploymentEndpoints } from './deployments.ts'
import type { Endpoint } from './endpoint.ts'
import { hubEndpoints } from './hub.ts'
import { lifecycleEndpoints } from './lifecycle.ts'
import { limitEndpoints } from './limits.ts'
import { presetEndpoints } from './presets.ts'
import { scalingEndpoints } from './scaling.ts'
import { scheduleEndpoints } from './schedules.ts'
import { uploadEndpoints } from './uploads.ts'

export const endpoints: readonly Endpoint[] = [
  ...deploymentEndpoints,
  ...lifecycleEndpoints,
  ...scalingEndpoints,
  ...limitEndpoints,
  ...deploymentMetricsEndpoints,
  ...scheduleEndpoints,
  ...presetEndpoints,
  ...adapterEndpoints,
  ...catalogueEndpoints,
  ...uploadEndpoints,
  ...accountEndpoints,
  ...hubEndpoints,
]
