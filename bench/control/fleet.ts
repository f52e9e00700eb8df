/** The real server on its simulated fleet and a Postgres of our own, with as many deployments as are asked for. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { RemoteSimulatedCompute } from '../../src/compute/simulated/remote.ts'
import { engineKey } from '../../src/deployments/observe.ts'
import type { Launch } from '../../src/engines/contract.ts'
import type { ReplicaId } from '../../src/kernel/ids.ts'
import { Secret } from '../../src/kernel/secret.ts'
import { systemClock as clock, until } from '../../src/runtime/clock.ts'
import { Seal } from '../../src/runtime/seal.ts'
import { type Database, openDatabase } from '../../src/store/database.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/store/embedded.ts'
import { type Server, startServer } from '../../test/e2e/harness.ts'
import type { Place } from '../../test/e2e/place.ts'
import { type Copied, copyDeployment } from './seed.ts'

export const replicasEach = 3
const gpuType = 'h100'
const perOrg = 100
const placesAtOnce = 32

interface Template {
  id: string
  machine: { placement: object; launch: Launch }
}

export class Fleet {
  readonly server: Server
  readonly db: Database
  readonly #postgres: EmbeddedPostgres
  readonly #seal: Seal
  readonly #template: Template
  readonly #driver: RemoteSimulatedCompute
  readonly #orgIds: string[] = []
  readonly copies: Copied[] = []

  private constructor(parts: {
    server: Server
    db: Database
    postgres: EmbeddedPostgres
    template: Template
    dataFolder: string
  }) {
    this.server = parts.server
    this.db = parts.db
    this.#postgres = parts.postgres
    this.#template = parts.template
    this.#seal = new Seal(new Secret(readFileSync(join(parts.dataFolder, 'secret-key'), 'utf8').trim()))
    this.#driver = new RemoteSimulatedCompute(join(parts.dataFolder, 'simulated'))
  }

  static async start(place: Place): Promise<Fleet> {
    const { root, systemFolder, uidBase, dataFolder } = place
    const postgres = await startEmbeddedPostgres({ dataFolder: join(root, 'postgres'), systemFolder, uidBase })
    const db = openDatabase({ connection: postgres.connection, name: 'bench', statementTimeoutMs: 120_000 })
    const script = join(root, 'script.json')
    writeFileSync(
      script,
      JSON.stringify({
        ports: 'shared',
        units: { [gpuType]: 1_000_000 },
        start: { hardware_seconds: 0, files_seconds: 0 },
      }),
    )
    const env = {
      PADDOCK_FLEET: 'simulated',
      PADDOCK_COMPUTE_SIMULATED_SCRIPT: script,
      PADDOCK_QUOTA_GPUS: '100000',
      PADDOCK_LOG_LEVEL: 'warn',
      DATABASE_URL: urlOf(postgres),
    }
    const server = await startServer(place, { env }).catch(async (error: Error) => {
      await db.close()
      await postgres.stop()
      throw error
    })
    const template = await makeTemplate(server, db, dataFolder)
    return new Fleet({ server, db, postgres, template, dataFolder })
  }

  async stop(): Promise<void> {
    try {
      await this.server.stop()
    } finally {
      await this.db.close()
      await this.#postgres.stop()
    }
  }

  /** Adds what is missing to `deployments`. Nobody looks at the new ones until a control starts. */
  async grow(deployments: number): Promise<void> {
    while (this.#orgIds.length * perOrg < deployments)
      this.#orgIds.push((await this.server.native.createOrg({ name: `org-${this.#orgIds.length}` })).id)
    const from = this.copies.length
    const wish = { count: deployments - from, from, orgIds: this.#orgIds }
    const copies = await copyDeployment(this.db, this.#seal, this.#template.id, wish)
    this.copies.push(...copies)
    await this.#place(copies)
    await this.db.run('vacuum analyze')
  }

  async #place(copies: readonly Copied[]): Promise<void> {
    const ids = copies.flatMap((copy) => copy.replicaIds.map((id) => [id, copy.deploymentId] as const))
    const { placement, launch } = this.#template.machine
    const work = async () => {
      for (let next = ids.pop(); next !== undefined; next = ids.pop()) {
        const [id, deploymentId] = next
        const key = engineKey(this.#seal, id)
        const env = Object.fromEntries(Object.keys(launch.env).map((name) => [name, key]))
        const order = { id: id as ReplicaId, deploymentId, placement, launch: () => ({ ...launch, env }) }
        await this.#driver.create(order as never)
      }
    }
    await Promise.all(Array.from({ length: placesAtOnce }, work))
  }

  /** Ends the process of a simulated engine. */
  async crash(replicaId: string): Promise<void> {
    const { port, key } = JSON.parse(readFileSync(join(this.server.place.dataFolder, 'simulated', 'door.json'), 'utf8'))
    const answer = await fetch(`http://127.0.0.1:${port}/simulated/troubles`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ what: 'crash', replica_id: replicaId }),
    })
    if (!answer.ok) throw new Error(`the simulated provider answered ${answer.status}: ${await answer.text()}`)
    await answer.body?.cancel()
  }
}

/** One deployment that serves and of which the reconciler has nothing more to say. */
async function makeTemplate(server: Server, db: Database, dataFolder: string): Promise<Template> {
  const { id } = await server.native.createDeployment({
    name: 'template',
    model_id: 'paddock/starter',
    gpu_type: gpuType,
    replicas: replicasEach,
  })
  await server.when(id, 'serves', ({ phase }) => phase === 'serving')
  await until(clock, 'it is at rest', 30_000, async () => {
    await db.run('update deployments set next_at = $1', [new Date(clock.now())])
    const [row] = await db.query<{ plan_why: string[] }>('select plan_why from deployments where id = $1', [id])
    return row!.plan_why.length === 1
  })
  const lines = readFileSync(join(dataFolder, 'simulated', 'journal.jsonl'), 'utf8')
    .trim()
    .split('\n')
  const { machine } = JSON.parse(lines.findLast((line) => line.startsWith('{"machine"'))!)
  return { id, machine: { placement: machine.placement, launch: machine.engine.launch } }
}

function urlOf({ connection }: EmbeddedPostgres): string {
  const { host, port, user, password, database } = connection as Exclude<typeof connection, { url: string }>
  return `postgres://${user}:${encodeURIComponent(password)}@localhost:${port}/${database}?host=${encodeURIComponent(host)}`
}
