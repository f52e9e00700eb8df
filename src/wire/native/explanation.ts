/** What explains a deployment: its replicas, events, logs and the sentences of the latest plan. */
import { z } from 'zod'
import { type DeploymentShape, deployment, renderDeployment } from './deployment.ts'
import { instant, iso, orNull } from './fields.ts'

const exit = z.object({
  at: instant,
  why: z.string(),
  code: orNull(z.int()),
  signal: orNull(z.string()),
  last_lines: z.array(z.string()).meta({ description: 'The last lines that the engine wrote.' }),
})

const partMs = z
  .record(z.string(), z.number())
  .meta({ description: 'How long each part of the start took, in milliseconds; one that is under way: up to now.' })

export const replica = z
  .object({
    id: z.string().meta({ example: 'rep_0mhx3k2v9ab3d5f7h9k1' }),
    revision: z.int(),
    phase: z.string().meta({ description: 'planned, starting, ready, draining, deleting or gone.', example: 'ready' }),
    gpu_type: z.string(),
    gpu_count: z.int(),
    region: z.string(),
    created_at: instant,
    ready_at: orNull(instant),
    ended_at: orNull(instant),
    start_phases: z
      .record(z.string(), instant)
      .meta({ description: 'When each part of the start began: hardware, files, load, warmup.' }),
    start_ms: partMs,
    exit: orNull(exit),
  })
  .meta({ id: 'Replica', description: 'One engine on one piece of hardware.' })
export type Replica = z.output<typeof replica>

const happening = {
  type: z.string().meta({ example: 'deployment.phase' }),
  at: instant,
  data: z.record(z.string(), z.unknown()),
}
export const event = z.object({ seq: z.int(), id: z.string(), ...happening }).meta({ id: 'Event' })
export type Event = z.output<typeof event>

const coldStart = z
  .object({
    from: z.enum(['create', 'start', 'wake', 'request', 'replica']).meta({
      description: 'What it is measured from; `replica`: it answered already, and one more took that long.',
    }),
    at: instant.meta({ description: 'When it answered.' }),
    replica_id: z.string(),
    actual_ms: z.number(),
    target_ms: orNull(z.number()),
    missed: z.boolean(),
    waited_ms: z.number().meta({ description: 'Before hardware was asked for.' }),
    start_ms: partMs,
  })
  .meta({ id: 'ColdStart', description: 'How long it took until a replica answered.' })

export const explanation = z
  .object({
    deployment,
    why: z.array(z.string()).meta({ description: 'The sentences of the latest plan, in order.' }),
    engine_why: z.string(),
    cold_start: orNull(coldStart).meta({ description: 'The last one; null: nothing has answered yet.' }),
    replicas: z.array(replica),
    events: z.array(z.object(happening)).meta({ description: 'The latest events.' }),
    next_look_at: orNull(instant).meta({ description: 'When the plan is made again unless something changes first.' }),
  })
  .meta({ id: 'Explanation' })
export type Explanation = z.output<typeof explanation>

export const replicaLog = z
  .object({ replica_id: z.string(), lines: z.array(z.string()).meta({ description: 'Oldest first.' }) })
  .meta({ id: 'ReplicaLog' })
export type ReplicaLog = z.output<typeof replicaLog>

export interface ReplicaShape {
  id: string
  revision: number
  phase: string
  gpuType: string
  gpuCount: number
  region: string
  createdAt: Date
  readyAt: Date | null
  endedAt: Date | null
  /** ms since epoch */
  startPhases: Record<string, number>
  startMs: Record<string, number>
  exit: { at: number; why: string; code: number | null; signal: string | null; lastLines: string[] } | null
}

export function renderReplica(view: ReplicaShape): Replica {
  const phases = Object.entries(view.startPhases).map(([part, at]) => [part, new Date(at).toISOString()])
  return {
    id: view.id,
    revision: view.revision,
    phase: view.phase,
    gpu_type: view.gpuType,
    gpu_count: view.gpuCount,
    region: view.region,
    created_at: iso(view.createdAt),
    ready_at: iso(view.readyAt),
    ended_at: iso(view.endedAt),
    start_phases: Object.fromEntries(phases),
    start_ms: view.startMs,
    exit: view.exit === null ? null : renderExit(view.exit),
  }
}

function renderExit(seen: NonNullable<ReplicaShape['exit']>): NonNullable<Replica['exit']> {
  const { at, lastLines, ...same } = seen
  return { why: same.why, code: same.code, signal: same.signal, at: new Date(at).toISOString(), last_lines: lastLines }
}

export interface EventShape {
  seq: number
  id: string
  type: string
  at: Date
  data: Record<string, unknown>
}

export function renderEvent({ seq, id, type, at, data }: EventShape): Event {
  return { seq, id, type, at: iso(at), data }
}

export interface ExplanationShape {
  deployment: DeploymentShape
  why: string[]
  engineWhy: string
  coldStart: {
    from: z.output<typeof coldStart>['from']
    at: number
    replicaId: string
    actualMs: number
    targetMs: number | null
    missed: boolean
    waitedMs: number
    phaseMs: Record<string, number>
  } | null
  replicas: ReplicaShape[]
  events: Omit<EventShape, 'seq' | 'id'>[]
  nextLookAt: Date | null
}

export function renderExplanation(view: ExplanationShape, publicUrl: string): Explanation {
  return {
    deployment: renderDeployment(view.deployment, publicUrl),
    why: view.why,
    engine_why: view.engineWhy,
    cold_start: renderColdStart(view.coldStart),
    replicas: view.replicas.map(renderReplica),
    events: view.events.map(({ type, at, data }) => ({ type, at: iso(at), data })),
    next_look_at: iso(view.nextLookAt),
  }
}

function renderColdStart(start: ExplanationShape['coldStart']): Explanation['cold_start'] {
  if (start === null) return null
  const { from, at, replicaId, actualMs, targetMs, missed, waitedMs, phaseMs } = start
  const times = { actual_ms: actualMs, target_ms: targetMs, missed, waited_ms: waitedMs, start_ms: phaseMs }
  return { from, at: new Date(at).toISOString(), replica_id: replicaId, ...times }
}
