/**
 * A gateway, in a process of its own or as one of several workers in a thread (server-workers.ts): the front door, and
 * the feed that keeps its tables fresh. No SQL on the way of a request.
 */
import { type GatewayReport, report, unregister, unregisterFormer } from './access/gateways.ts'
import { Keyring } from './access/keyring.ts'
import { keyringSince, markUsed } from './access/store.ts'
import { RouteTable } from './deployments/routes.ts'
import { routesSince } from './deployments/store.ts'
import { enginesOf } from './engines/registry.ts'
import { LaneCounters } from './gateway/counters.ts'
import { startGateway } from './gateway/server.ts'
import { systemClock as clock } from './runtime/clock.ts'
import { type Log, makeLog } from './runtime/log.ts'
import { runPart } from './server-child.ts'
import { Feed, type FeedSource } from './server-feed.ts'
import { type GatewaySetup, workerPoolSize } from './server-gateway-setup.ts'
import { ShareKeeper } from './server-limits.ts'
import { startMetering } from './server-metering.ts'
import { startMetrics } from './server-metrics.ts'
import { type Database, openDatabase } from './store/database.ts'
import { currentVersions, demandChannel, notifyNow, tablesChannel } from './store/tables.ts'

const drainMs = 3_000
/** How often the first worker looks for workers of an earlier start that there are no more of. */
const formerEveryMs = 10_000
/** Longer than an earlier start may take to end. */
const formerSilentMs = 10_000

runPart<GatewaySetup>(async (setup, tell) => {
  const log = logOf(setup)
  const { connection, worker, workers, shared } = setup
  const db = openDatabase({
    connection,
    name: 'paddock gateway',
    poolSize: workerPoolSize,
    log: (line) => log.warn({}, line),
  })
  const tables = { keyring: new Keyring(), routes: new RouteTable() }
  const metering = await startMetering({ config: setup.config, folder: setup.journalFolder, db, log, worker })
  const metrics = startMetrics(db, log)
  let queued = (): Record<string, number> => ({})
  const feed = new Feed({
    id: setup.id,
    source: sourceOf(db, () => ({ journal: metering.report(), process: metrics.process(), queued: queued() })),
    tables,
    clock,
    log,
    snapshotPath: setup.snapshotPath,
    // All read it, one writes it.
    savesSnapshot: worker === 0,
    pollMs: setup.config['tables.poll_milliseconds'],
    maxStaleSeconds: setup.config['tables.max_stale_seconds'],
  })
  await feed.load()
  const shares = new ShareKeeper({ db, id: setup.id, leaseSeconds: setup.config['limits.lease_seconds'], clock, log })
  const gateway = await startGateway({
    host: setup.config.host,
    port: setup.port,
    reusePort: workers > 1,
    counters: shared && new LaneCounters(shared.counters, worker),
    routingMemory: shared?.routing,
    shares,
    tables,
    engines: enginesOf(setup.config.fleet),
    control: { socketPath: setup.controlSocketPath },
    settings: setup.config,
    clock,
    log,
    metering: metering.journal,
    onSettle: (settled) => {
      feed.settled(settled)
      metrics.settled(settled)
    },
    onHold: (deploymentId) => feed.holds(deploymentId),
    trust: () => feed.distrust(),
  })
  feed.inFlight = () => gateway.inFlight()
  feed.held = () => gateway.held()
  queued = () => gateway.queued()
  const stopping = new AbortController()
  const fed = feed.run(stopping.signal)
  const leasing = shares.run(gateway.limiter, stopping.signal)
  if (worker === 0) void forgetFormer(db, setup, stopping.signal)
  tell({ kind: 'ready', port: gateway.port })
  return {
    stop: async () => {
      await gateway.close({ drainMs })
      await Promise.all([metering.stop(), metrics.stop()])
      stopping.abort()
      await Promise.all([fed, leasing])
      await feed.leave()
      await db.close()
    },
  }
})

function logOf({ config, workers, worker }: GatewaySetup): Log {
  const log = makeLog(config['log.level'], 'gateway')
  return workers > 1 ? log.child({ worker }) : log
}

/** After a start with fewer workers than before, that ended without saying so, nobody is to wait for those who are gone. */
async function forgetFormer(db: Database, { id, workers }: GatewaySetup, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await unregisterFormer(db, id, workers, clock.now() - formerSilentMs).catch(() => {})
    await clock.sleep(formerEveryMs, signal)
  }
}

/** `also`: what a report says besides what the feed knows. */
function sourceOf(db: Database, also: () => Partial<GatewayReport>): FeedSource {
  return {
    versions: () => currentVersions(db),
    keyringSince: (version) => keyringSince(db, version),
    routesSince: (version) => routesSince(db, version),
    onPublished: (look) => db.listen(tablesChannel, look),
    report: (state, now) => report(db, { ...state, ...also() }, now),
    announce: () => notifyNow(db, demandChannel),
    markUsed: (usedAt) => markUsed(db, usedAt),
    unregister: (id, lastReportAt) => unregister(db, id, lastReportAt),
  }
}
