/** The real server on a simulated fleet, and the provider's own door: what really is there, and trouble on demand. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ScriptInput, TroubleInput } from '../../src/compute/simulated/script.ts'
import { systemClock, until } from '../../src/runtime/clock.ts'
import type { CreateDeployment, Deployment } from '../../src/wire/native/deployment.ts'
import type { Replica } from '../../src/wire/native/explanation.ts'
import { type Server, type StartOptions, startServer } from '../e2e/harness.ts'
import type { Place } from '../e2e/place.ts'

/** Machines that busy tests share may be slow. */
export const longMs = 60_000
const bodyMs = 10_000

/** Starts that take a tenth of a second, unless the script says otherwise. */
const quick: ScriptInput = {
  start: { hardware_seconds: 0.05, files_seconds: 0 },
  engine_args: ['--load-seconds=0.05', '--warmup-seconds=0', '--first-token-ms=1', '--tokens-per-second=2000'],
}

export async function startFleet(place: Place, script: ScriptInput = {}, options: StartOptions = {}): Promise<Fleet> {
  const path = join(place.root, 'script.json')
  writeFileSync(path, JSON.stringify({ ...quick, ...script }))
  const server = await startServer(place, {
    ...options,
    args: ['--fleet', 'simulated', ...(options.args ?? [])],
    env: {
      PADDOCK_LOG_LEVEL: 'warn',
      PADDOCK_COMPUTE_SIMULATED_SCRIPT: path,
      PADDOCK_LIVENESS_UNRESPONSIVE_SECONDS: '2',
      PADDOCK_START_BACKOFF_MAXIMUM_SECONDS: '0.5',
      PADDOCK_AUTOSCALING_LOOK_EVERY_SECONDS: '3600',
      PADDOCK_QUOTA_GPUS: '1000',
      ...options.env,
    },
  })
  return new Fleet(server)
}

export class Fleet {
  readonly server: Server
  constructor(server: Server) {
    this.server = server
  }

  /** Exactly so many replicas of its own on h100, unless told otherwise. */
  deploy(name: string, replicas: number, more: Partial<CreateDeployment> = {}): Promise<Deployment> {
    const model_id = 'llama-3.3-70b-instruct'
    return this.server.native.createDeployment({ name, model_id, gpu_type: 'h100', replicas, ...more })
  }

  /** Gives the id with which it can be ended. */
  async trouble(spec: TroubleInput): Promise<string> {
    return ((await this.#door('troubles', spec)) as { id: string }).id
  }

  async over(id: string): Promise<void> {
    assert.equal(await this.#door(`troubles/${id}`, undefined, 'DELETE'), true)
  }

  /** What the provider has, asked for or not. */
  machines(): Promise<string[]> {
    return this.#door('calls/list', []) as Promise<string[]>
  }

  /** How often one of these troubles struck. */
  async struck(id: string): Promise<number> {
    const all = (await this.#door('troubles')) as { id: string; struck: number }[]
    return all.find((one) => one.id === id)?.struck ?? 0
  }

  async replicas(name: string): Promise<Replica[]> {
    return (await this.server.native.listReplicas(name)).data
  }

  /**
   * As wished and nothing else: so many serve, each on the one machine that the provider has for it, and what is gone
   * is gone there too.
   */
  async settled(name: string, replicas: number, ms = longMs): Promise<Replica[]> {
    let last = ''
    const look = async () => {
      const { phase, ready_replicas, reason } = await this.server.native.getDeployment(name)
      const all = await this.replicas(name)
      const living = all.filter((one) => one.phase !== 'gone')
      const machines = new Set(await this.machines())
      const there = all.filter((one) => machines.has(one.id)).map(({ id }) => id)
      last = `${phase} ${ready_replicas} ${reason?.message ?? ''} ${living.map((one) => one.phase)}; ${there.length} machines`
      const right =
        living.every((one) => one.phase === 'ready' && machines.has(one.id)) &&
        living.length === replicas &&
        there.length === replicas &&
        ready_replicas === replicas
      return right ? living : null
    }
    return until(systemClock, `${name} has ${replicas}`, ms, look, 50).catch((error: Error) => {
      throw new Error(`${error.message}; last: ${last}\n${this.server.run.output.slice(-4_000)}`)
    })
  }

  async chat(name: string, maxTokens = 4): Promise<string> {
    const answer = await this.server.native.chatCompletions(name, {
      messages: [{ role: 'user', content: 'Are you there?' }],
      max_tokens: maxTokens,
    })
    const body = (await answer.json()) as { choices: { message: { content: string } }[] }
    return body.choices[0]!.message.content
  }

  async #door(path: string, body?: object, method = body === undefined ? 'GET' : 'POST'): Promise<unknown> {
    const { port, key } = JSON.parse(
      readFileSync(join(this.server.place.dataFolder, 'simulated', 'door.json'), 'utf8'),
    ) as { port: number; key: string }
    const answer = await fetch(`http://127.0.0.1:${port}/simulated/${path}`, {
      method,
      headers: { authorization: `Bearer ${key}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(bodyMs),
    })
    const said = (await answer.json()) as { result: unknown }
    assert.equal(answer.status, 200, `${path}: ${JSON.stringify(said)}`)
    return said.result
  }
}

/** What a deployment cost, from its replicas' own times; in US dollars. */
export function costOf(replicas: readonly Replica[], usdPerHour: number): number {
  const hours = replicas.map(({ ready_at, ended_at }) =>
    ready_at === null || ended_at === null ? 0 : (Date.parse(ended_at) - Date.parse(ready_at)) / 3_600_000,
  )
  return hours.reduce((sum, one) => sum + Math.max(0, one), 0) * usdPerHour
}
