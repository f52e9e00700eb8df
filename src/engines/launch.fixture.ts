/** For tests of drivers: a model of safetensors and the place where it is launched. */
import type { LaunchHost, ModelFiles } from './contract.ts'

export const model: ModelFiles = {
  modelId: 'm',
  format: 'safetensors',
  path: '/w/m',
  sizeBytes: 1,
  contextSize: 131_072,
}

export const host: LaunchHost = {
  address: '127.0.0.1',
  port: 4242,
  threads: 3,
  gpuIds: ['0'],
  gpuVendor: 'nvidia',
  modelPath: '/placed/m',
  node: '/bin/node',
  packageRoot: '/pkg',
}
