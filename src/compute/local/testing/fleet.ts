/** A local driver in a folder of its own, and the look at its processes that tests need. */
import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ReplicaId } from '../../../kernel/ids.ts'
import { systemClock, until } from '../../../runtime/clock.ts'
import { newId } from '../../../runtime/ids.ts'
import { isAlive, type ProcessIdentity } from '../../../runtime/processes.ts'
import { packageRoot } from '../../../runtime/self.ts'
import type { Exit, Placement, ReplicaOrder } from '../../contract.ts'
import { LocalCompute, type LocalOptions } from '../driver.ts'
import { engineOf, RunFolder } from '../run-folder.ts'
import { type MarkedProcess, markedProcesses } from '../strays.ts'

export const cpu: Placement = { provider: 'local', gpuType: 'cpu', gpuCount: 1, region: 'local', emulated: false }
export const engineProgram = join(import.meta.dirname, 'engine.mjs')
/** After an installation the disk of a small machine may be busy for long. */
const patienceMs = 30_000
let fleets = 0

/** Below 65,536, so that a container maps them, and apart from those of fleets that run beside this one. */
function nextUidBase(): number {
  return 20_000 + ((process.pid * 7 + fleets++) % 60) * 600
}

export class TestFleet {
  /** Other uids may pass through, as through /var/lib. */
  readonly base: string
  readonly options: LocalOptions
  readonly local: LocalCompute

  constructor(options: Partial<LocalOptions> = {}) {
    this.base = mkdtempSync(join(tmpdir(), 'paddock-local-'))
    chmodSync(this.base, 0o711)
    this.options = {
      folder: join(this.base, 'data', 'replicas'),
      systemFolder: join(this.base, 'system'),
      instanceId: `test-${process.pid}-${fleets}`,
      fleet: 'local',
      uidBase: nextUidBase(),
      packageRoot,
      node: process.execPath,
      probeGpus: async () => [],
      ...options,
    }
    this.local = this.again()
  }

  again(): LocalCompute {
    return new LocalCompute(this.options)
  }

  order(flags: string[] = [], changes: Partial<ReplicaOrder> = {}): ReplicaOrder {
    return {
      id: newId('rep'),
      deploymentId: newId('dep'),
      placement: cpu,
      model: { modelId: 'none', format: 'gguf', path: engineProgram, sizeBytes: 1, contextSize: 1 },
      launch: (host) => ({
        argv: [host.node, engineProgram, '--port', String(host.port), '--model', host.modelPath, ...flags],
        env: {},
        image: null,
        stopGraceSeconds: 5,
      }),
      ...changes,
    }
  }

  async start(flags: string[] = [], changes: Partial<ReplicaOrder> = {}): Promise<Running> {
    const order = this.order(flags, changes)
    await this.local.create(order)
    return this.running(order.id)
  }

  async running(id: ReplicaId): Promise<Running> {
    const seen = await this.until(`${id} runs`, async () => {
      const seen = await this.local.observe(id)
      assert.notEqual(seen.state, 'exited', JSON.stringify(seen))
      return seen.state === 'running' ? seen : null
    })
    const keeper = this.run(id).keeper()!
    return { id, keeper, engine: engineOf(keeper)!, url: `http://${seen.address}:${seen.port}` }
  }

  /** Runs, and answers. */
  async answering(flags: string[] = [], changes: Partial<ReplicaOrder> = {}): Promise<Running> {
    const running = await this.start(flags, changes)
    await this.until(`${running.id} answers`, () =>
      fetch(`${running.url}/health`).then(
        ({ ok }) => ok,
        () => false,
      ),
    )
    return running
  }

  exited(id: ReplicaId): Promise<Exit> {
    return this.until(`${id} has ended`, async () => {
      const seen = await this.local.observe(id)
      return seen.state === 'exited' ? seen.exit : null
    })
  }

  async deleted(id: ReplicaId): Promise<void> {
    await this.until(`${id} is gone`, async () => {
      await this.local.delete(id, { graceSeconds: 0 })
      return (await this.local.observe(id)).state === 'not_found'
    })
  }

  until<T>(what: string, probe: () => Promise<T> | T) {
    return until(systemClock, what, patienceMs, probe)
  }

  gone(identity: ProcessIdentity): Promise<true> {
    return this.until(`${identity.pid} is gone`, () => !isAlive(identity))
  }

  run(id: ReplicaId): RunFolder {
    return new RunFolder(this.options.folder, id)
  }

  processes(role: MarkedProcess['role'], id?: ReplicaId): MarkedProcess[] {
    const all = markedProcesses(`paddock:${this.options.instanceId}:`)
    return all.filter((p) => p.role === role && (id === undefined || p.replicaId === id))
  }

  /** Ends everything and proves that nothing is left. */
  async dispose(): Promise<void> {
    await this.local.endAll({ graceSeconds: 0 })
    for (const id of await this.local.list()) await this.deleted(id)
    await this.until('all processes are gone', () =>
      [...this.processes('keeper'), ...this.processes('engine')].every((p) => !isAlive(p.identity)),
    )
    rmSync(this.base, { recursive: true, force: true })
  }
}

export interface Running {
  id: ReplicaId
  keeper: ProcessIdentity
  engine: ProcessIdentity
  url: string
}
