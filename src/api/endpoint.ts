/**
 * What a route of the native API is: plain data plus one function that parses nothing and renders its answer. The
 * table of them (table.ts) feeds the server, the reference and the authorisation matrix alike.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import { z } from 'zod'
import type { Access } from '../access/commands.ts'
import type { Once } from '../access/once.ts'
import type { Principal } from '../access/permissions.ts'
import type { Scaling } from '../autoscaling/commands.ts'
import type { Adapters } from '../deployments/adapters/commands.ts'
import type { Deployments } from '../deployments/commands.ts'
import type { Lifecycle } from '../deployments/lifecycle.ts'
import type { DeploymentLimits } from '../deployments/limits.ts'
import type { DeploymentMetrics } from '../deployments/metrics.ts'
import type { Quotas } from '../deployments/quotas.ts'
import type { Schedules } from '../deployments/schedules.ts'
import type { EngineDriver, EngineType } from '../engines/contract.ts'
import type { FaultCode } from '../kernel/fault-table.ts'
import type { ModelCatalogue } from '../models/catalogue.ts'
import type { Models } from '../models/commands.ts'
import type { HardwareCatalogue } from '../models/hardware.ts'
import type { HubTokens } from '../models/hub/tokens.ts'
import type { Uploads } from '../models/uploads/commands.ts'
import type { ResumableUploads } from '../models/uploads/resumable.ts'

export const basePath = '/api/v1/public'

/** Everything that handlers may call. */
export interface ApiParts {
  access: Access
  deployments: Deployments
  lifecycle: Lifecycle
  adapters: Adapters
  limits: DeploymentLimits
  scaling: Scaling
  quotas: Quotas
  hubTokens: HubTokens
  schedules: Schedules
  metrics: DeploymentMetrics
  models: ModelCatalogue
  /** What is done to it. */
  catalogue: Models
  hardware: HardwareCatalogue
  uploads: Uploads
  resumable: ResumableUploads
  /** Engines that can run here. */
  engines: ReadonlyMap<EngineType, EngineDriver>
  config: {
    /** Address under which clients reach this server, without a trailing slash. */
    publicUrl: string
    /** Largest request body; default 10 MiB. */
    maxBodyBytes?: number
  }
}

/** A checked request. */
export interface Ask<Q = unknown, B = unknown> {
  principal: Principal
  /** The value of a `{name}` in the path. */
  param(name: string): string
  query: Q
  body: B
  once: Once | null
  parts: ApiParts
  /** The request itself, of routes that read their body as it comes. */
  incoming(): Incoming
}

/** Nothing of the body has been read. */
export interface Incoming {
  headers: IncomingHttpHeaders
  body: Readable
}

export type Method = 'get' | 'post' | 'put' | 'patch' | 'delete'

export interface Endpoint {
  /** Operation id in the reference. */
  id: string
  method: Method
  /** Below `basePath`, with `{name}` for parameters. */
  path: string
  tag: string
  summary: string
  description: string
  /** Answers 201. Every POST and PATCH honours Idempotency-Key. */
  creates: boolean
  query: z.ZodObject
  body: z.ZodType | null
  /** A form with a file, which the route reads itself; for the reference. */
  form: z.ZodObject | null
  answer: z.ZodType
  /** What it answers, with 200, to a dry run: nothing was made then. null = it knows none. */
  preview: z.ZodType | null
  /** Faults of its own, beyond those that every route can give. */
  faults: readonly FaultCode[]
  run(ask: Ask): Promise<unknown>
}

interface Definition<Q extends z.ZodObject, B extends z.ZodType, A extends z.ZodType, P extends z.ZodType>
  extends Pick<Endpoint, 'id' | 'method' | 'path' | 'tag' | 'summary'> {
  description?: string
  creates?: boolean
  query?: Q
  body?: B
  form?: z.ZodObject
  answer: A
  preview?: P
  faults?: readonly FaultCode[]
  run(ask: Ask<z.output<Q>, z.output<B>>): Promise<z.output<A> | z.output<P>>
}

const noQuery = z.strictObject({})

/** Checks a definition's types and forgets them, so that all routes fit in one table. */
export function endpoint<
  A extends z.ZodType,
  Q extends z.ZodObject = typeof noQuery,
  B extends z.ZodType = z.ZodUndefined,
  P extends z.ZodType = z.ZodNever,
>(definition: Definition<Q, B, A, P>): Endpoint {
  return {
    description: '',
    creates: false,
    faults: [],
    ...definition,
    query: definition.query ?? noQuery,
    body: definition.body ?? null,
    preview: definition.preview ?? null,
    form: definition.form ?? null,
    run: definition.run as Endpoint['run'],
  }
}

/** True when a request may carry an Idempotency-Key; what is put or deleted is so twice in any case. */
export function takesKey({ method }: Pick<Endpoint, 'method'>): boolean {
  return method === 'post' || method === 'patch'
}

/** A list that is given whole. */
export function whole<T>(items: T[]): { data: T[]; next_cursor: null } {
  return { data: items, next_cursor: null }
}

/** One page of a list, each item rendered. */
export function paged<T, W>(page: { items: T[]; nextCursor: string | null }, render: (item: T) => W) {
  return { data: page.items.map(render), next_cursor: page.nextCursor }
}
