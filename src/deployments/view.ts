/** What others see of a deployment; each dialect renders it in its own words. */

import type { Limits } from '../access/limits.ts'
import type { MicroUsd } from '../kernel/money.ts'
import type { Phase, Reason } from '../kernel/phase.ts'
import type { ColdStart } from './cold-start.ts'
import type { EngineSettings } from './engine-settings.ts'
import type { Choice } from './prices.ts'
import type { Override } from './schedule.ts'
import type { DeploymentSpec } from './spec.ts'
import type { Waiting } from './waiting.ts'

/** Hardware that replicas really have. */
export interface RunsOn {
  gpuType: string
  gpuCount: number
  region: string
  emulated: boolean
  replicas: number
  /** Of one replica, an hour. */
  price: MicroUsd
}

/** The window of a schedule that counts now. */
export interface ActiveWindow {
  /** Place in the schedule's list. */
  window: number
  override: Override
  /** It says stop, and a person started the deployment in its middle. */
  overruled: boolean
}

export interface DeploymentView {
  id: string
  orgId: string
  name: string
  spec: DeploymentSpec
  /** The hardware of the spec with its prices. */
  choices: Choice[]
  runsOn: RunsOn[]
  /** What it waits for; null = for nothing. */
  waiting: Waiting | null
  desired: 'running' | 'stopped' | 'deleted'
  phase: Phase
  reason: Reason | null
  desiredReplicas: number
  readyReplicas: number
  revision: number
  /** Unit price × units × desired replicas now, of what they run on; 0 while nothing is wanted or nothing can start. */
  hourlyCost: MicroUsd
  hourlyCostMax: MicroUsd
  /** Billed so far: serving time of every replica × its price. */
  cost: MicroUsd
  emulated: boolean
  servedBy: string | null
  createdAt: Date
  /** The end of its lease. */
  expiresAt: Date | null
  /** null = it has none. */
  schedule: { windows: number; active: ActiveWindow | null; nextChangeAt: Date | null } | null
  preset: string | null
  /** What the preset sets of its engine, and what it leaves out there. */
  engineSettings: EngineSettings
  limits: Limits
  updatedAt: Date
  deletedAt: Date | null
}

export interface ReplicaSummary {
  id: string
  revision: number
  phase: string
  gpuType: string
  gpuCount: number
  region: string
  createdAt: Date
  readyAt: Date | null
  endedAt: Date | null
  /** When each part of the start began, ms since epoch. */
  startPhases: Record<string, number>
  /** How long each part took, the open one up to now. */
  startMs: Record<string, number>
  exit: { at: number; why: string; code: number | null; signal: string | null; lastLines: string[] } | null
}

/** A deployment with what explains it. */
export interface Explanation {
  deployment: DeploymentView
  /** Sentences of the latest plan. */
  why: string[]
  engineWhy: string
  /** The last time that it took until something answered; null = nothing has yet. */
  coldStart: (ColdStart & { missed: boolean }) | null
  replicas: ReplicaSummary[]
  events: { at: Date; type: string; data: Record<string, unknown> }[]
  nextLookAt: Date | null
}
