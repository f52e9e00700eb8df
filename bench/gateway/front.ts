/**
 * The gateway as the bench measures it: everything that it does for a request, tables in memory. With `journal`, a folder,
 * requests are also written down and read again; what would go to the database is dropped there. A process, or as one of
 * several workers a thread (front-workers.ts).
 */
import { parentPort, workerData } from 'node:worker_threads'
import { hashKey, Keyring } from '../../src/access/keyring.ts'
import { RouteTable } from '../../src/deployments/routes.ts'
import { availableEngines } from '../../src/engines/registry.ts'
import { LaneCounters } from '../../src/gateway/counters.ts'
import { startGateway } from '../../src/gateway/server.ts'
import { systemClock } from '../../src/runtime/clock.ts'
import { readConfig } from '../../src/runtime/config.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { Journal } from '../../src/usage/journal/journal.ts'
import { Shipper } from '../../src/usage/journal/shipper.ts'

export interface FrontSetup {
  upstreamPort: number
  journal?: string
  /** Socket of what stands for control. */
  control?: string
}

/** Of one worker; `port` 0: it is the first and takes any. */
export interface WorkerFrontSetup extends FrontSetup {
  port: number
  worker: number
  counters: SharedArrayBuffer
  routing: SharedArrayBuffer
}

const own = workerData as WorkerFrontSetup | null
const { upstreamPort, journal: root, control } = own ?? (JSON.parse(process.argv[2]!) as FrontSetup)
const settings = readConfig({ flags: {}, env: {}, file: undefined })
const keyring = new Keyring()
keyring.apply([
  {
    keyId: 'key_bench',
    hash: hashKey('bench-key'),
    orgId: 'org_bench',
    role: 'developer',
    grants: {},
    operator: false,
    expiresAt: null,
    removed: false,
    version: 1,
  },
])
const routes = new RouteTable()
routes.apply([
  {
    deploymentId: 'dep_bench',
    orgId: 'org_bench',
    name: 'bench',
    modelId: 'bench',
    servedName: 'served',
    engine: 'llamacpp',
    phase: 'serving',
    reason: null,
    replicas: [{ id: 'rep_bench', address: '127.0.0.1', port: upstreamPort, key: 'k', state: 'ready', weight: 100 }],
    contextTokens: 4096,
    emulated: false,
    created: 1,
    removed: false,
    version: 1,
  },
])
const used = new Map<string, number>()
const metering = root === undefined ? undefined : await openJournal(root)
const gateway = await startGateway({
  host: '127.0.0.1',
  port: own?.port ?? 0,
  reusePort: own !== null,
  counters: own === null ? undefined : new LaneCounters(own.counters, own.worker),
  routingMemory: own?.routing,
  tables: { keyring, routes },
  engines: availableEngines(),
  control: control === undefined ? null : { socketPath: control },
  settings,
  clock: systemClock,
  log: silentLog,
  metering,
  onSettle: (settled) => {
    if (settled.keyId !== null) used.set(settled.keyId, settled.receivedAt)
  },
})
process.on('disconnect', () => process.exit(0))

async function openJournal(root: string): Promise<Journal> {
  const parts = { root, clock: systemClock, log: silentLog }
  const ledger = { record: async (lines: readonly string[]) => lines.length, refuses: () => false }
  const journal = await Journal.open({
    ...parts,
    syncMs: settings['journal.sync_milliseconds'],
    segmentBytes: settings['journal.segment_bytes'],
    maxBytes: settings['journal.max_bytes'],
    minFreeBytes: settings['journal.min_free_bytes'],
    whenFull: settings['journal.when_full'],
  })
  void new Shipper({ ...parts, own: () => journal.folder, ledger, horizon: () => 0 }).run(new AbortController().signal)
  return journal
}
if (parentPort === null) process.send!({ port: gateway.port })
else parentPort.postMessage({ port: gateway.port })
