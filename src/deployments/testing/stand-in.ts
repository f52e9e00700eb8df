/** For tests: the stand-in engine of the local driver's tests, and settings under which everything is quick. */
import { join } from 'node:path'
import type { EngineDriver } from '../../engines/contract.ts'
import type { PlanSettings } from '../situation.ts'

/** `flags`: what the engine is told at its next start. */
export function standInEngine(flags: () => readonly string[] = () => []): EngineDriver {
  return {
    type: 'llamacpp',
    formats: ['gguf'],
    program: null,
    routes: new Set(['chat/completions']),
    usage: { streamOptions: {}, extraBody: {} },
    validate: () => [],
    limits: (_spec, model) => ({ contextTokens: model.contextSize, sequences: 1 }),
    launch: ({ host, apiKey }) => ({
      argv: [
        host.node,
        join(host.packageRoot, 'src/compute/local/testing/engine.mjs'),
        '--port',
        String(host.port),
        ...flags(),
      ],
      env: { PADDOCK_ENGINE_KEY: apiKey },
      image: null,
      stopGraceSeconds: 1,
    }),
    healthPath: '/health',
    metricsPath: '/metrics',
    readiness: (status) =>
      status === 200 ? { state: 'ready' } : { state: 'not_ready', phase: 'load', detail: 'loading' },
    metrics: () => ({ running: 0, waiting: 0 }),
    refusedField: () => null,
  }
}

export const quickSettings: PlanSettings = {
  startDeadlineMs: 20_000,
  brakeAfter: 2,
  rollbackAfter: 2,
  backoffMs: 50,
  backoffMaximumMs: 100,
  unresponsiveMs: 5_000,
  drainDeadlineMs: 500,
}
