import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answering, phases } from '../../kernel/phase.ts'
import { createDeployment, type DeploymentShape, deployment, renderDeployment, wishFrom } from './deployment.ts'

const view: DeploymentShape = {
  id: 'dep_1',
  orgId: 'org_default',
  name: 'prod-llama-70b',
  spec: {
    modelId: 'llama-3.3-70b-instruct',
    hardware: [{ gpuType: 'h100', gpuCount: 1, region: 'nyc2' }],
    engine: { type: 'llamacpp', maxModelLen: 4096, additionalArgs: [] },
    engineWhy: 'llamacpp, because the weights are gguf.',
    replicas: 1,
    maxHourlyUsd: '4.5',
  },
  choices: [
    { gpuType: 'h100', gpuCount: 1, region: 'nyc2', price: 4_410_000n, skipped: null },
    { gpuType: 'mi300x_8', gpuCount: 1, region: null, price: 20_700_000n, skipped: 'Too dear.' },
  ],
  waiting: {
    position: 2,
    of: 3,
    since: 0,
    missing: 1,
    instead: [{ gpuType: 'mi300x', gpuCount: 1, region: 'tor1', freeUnits: 2, totalUnits: 8 }],
  },
  runsOn: [{ gpuType: 'h100', gpuCount: 1, region: 'nyc2', emulated: true, replicas: 1, price: 4_410_000n }],
  phase: 'serving',
  reason: null,
  desiredReplicas: 1,
  readyReplicas: 1,
  revision: 1,
  hourlyCost: 4_410_000n,
  hourlyCostMax: 4_410_000n,
  cost: 1_225n,
  emulated: true,
  servedBy: 'paddock/starter',
  expiresAt: new Date(86_400_000),
  preset: 'speed',
  engineSettings: { args: ['--performance-mode', 'throughput'], sequences: 8, left: ['Not this.'] },
  limits: { rpm: 600, tpm: null, concurrency: null },
  schedule: {
    windows: 2,
    active: { window: 1, override: { action: 'scale', min: 1, max: 3 }, overruled: false },
    nextChangeAt: new Date(3_600_000),
  },
  createdAt: new Date(0),
  updatedAt: new Date(1000),
  deletedAt: null,
}

test('a deployment, field by field', () => {
  const shown = renderDeployment(view, 'http://localhost:8080')
  assert.deepEqual(shown, {
    id: 'dep_1',
    org_id: 'org_default',
    name: 'prod-llama-70b',
    model_id: 'llama-3.3-70b-instruct',
    model_source: null,
    gpu_type: 'h100',
    gpu_count: 1,
    region: 'nyc2',
    hardware: [
      { gpu_type: 'h100', gpu_count: 1, region: 'nyc2', hourly_cost_usd: 4.41, skipped: null },
      { gpu_type: 'mi300x_8', gpu_count: 1, region: null, hourly_cost_usd: 20.7, skipped: 'Too dear.' },
    ],
    max_hourly_usd: 4.5,
    queue: {
      position: 2,
      of: 3,
      since: '1970-01-01T00:00:00.000Z',
      missing_replicas: 1,
      comparable: [{ gpu_type: 'mi300x', gpu_count: 1, region: 'tor1', free_units: 2, total_units: 8 }],
    },
    runs_on: [{ gpu_type: 'h100', gpu_count: 1, region: 'nyc2', replicas: 1, hourly_cost_usd: 4.41, emulated: true }],
    replicas: 1,
    engine: {
      type: 'llamacpp',
      version: null,
      max_model_len: 4096,
      max_num_seqs: null,
      additional_args: [],
      why: 'llamacpp, because the weights are gguf.',
      preset_sets: ['--performance-mode', 'throughput'],
      preset_sequences: 8,
      preset_leaves_out: ['Not this.'],
    },
    status: 'active',
    phase: 'serving',
    reason: null,
    desired_replicas: 1,
    ready_replicas: 1,
    revision: 1,
    endpoint_url: 'http://localhost:8080/api/v1/public/deployments/dep_1',
    hourly_cost_usd: 4.41,
    hourly_cost_max_usd: 4.41,
    cost_usd: 0.001225,
    emulated: true,
    simulated: false,
    served_by: 'paddock/starter',
    expires_at: '1970-01-02T00:00:00.000Z',
    preset: 'speed',
    limits: { rpm: 600, tpm: null, concurrency: null },
    schedule: {
      windows: 2,
      active: { window: 1, action: 'scale', min_replicas: 1, max_replicas: 3, overruled: false },
      next_change_at: '1970-01-01T01:00:00.000Z',
    },
    created_at: '1970-01-01T00:00:00.000Z',
    updated_at: '1970-01-01T00:00:01.000Z',
    deleted_at: null,
  })
  assert.deepEqual(deployment.parse(shown), shown)
})

test('endpoint_url is there exactly while requests are answered or held', () => {
  for (const phase of phases) {
    const { endpoint_url } = renderDeployment({ ...view, phase }, 'http://x')
    assert.equal(endpoint_url !== null, answering[phase] === 'yes' || answering[phase] === 'hold', phase)
  }
})

test('a wish: snake case becomes ours, what is absent stays absent', () => {
  const least = { name: 'a', model_id: 'm', gpu_type: 'cpu' }
  assert.deepEqual(wishFrom(createDeployment.parse(least)), { name: 'a', modelId: 'm', gpuType: 'cpu' })
  const engine = { type: 'vllm', version: '1', max_model_len: 2, max_num_seqs: 3, additional_args: ['--x'] } as const
  const all = { ...least, gpu_count: 2, region: 'nyc2', replicas: 4, engine }
  assert.deepEqual(wishFrom(createDeployment.parse(all)), {
    name: 'a',
    modelId: 'm',
    gpuType: 'cpu',
    gpuCount: 2,
    region: 'nyc2',
    replicas: 4,
    engine: { type: 'vllm', version: '1', maxModelLen: 2, maxNumSeqs: 3, additionalArgs: ['--x'] },
  })
})
