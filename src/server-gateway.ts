/** The gateway's process: the front door, and the feed that keeps its tables fresh. No SQL on the way of a request. */
import { report, unregister } from './access/gateways.ts'
import { Keyring } from './access/keyring.ts'
import { keyringSince, markUsed } from './access/store.ts'
import { RouteTable } from './deployments/routes.ts'
import { routesSince } from './deployments/store.ts'
import { enginesOf } from './engines/registry.ts'
import { startGateway } from './gateway/server.ts'
import { systemClock as clock } from './runtime/clock.ts'
import { makeLog } from './runtime/log.ts'
import { runPart } from './server-child.ts'
import { Feed, type FeedSource } from './server-feed.ts'
import { type Metering, startMetering } from './server-metering.ts'
import { type Metrics, startMetrics } from './server-metrics.ts'
import type { GatewaySetup } from './server-parts.ts'
import { type Database, openDatabase } from './store/database.ts'
import { currentVersions, demandChannel, notifyNow, tablesChannel } from './store/tables.ts'

const drainMs = 3_000

runPart<GatewaySetup>(async (setup, tell) => {
  const log = makeLog(setup.config['log.level'], 'gateway')
  const db = openDatabase({ connection: setup.connection, name: 'paddock gateway', log: (line) => log.warn({}, line) })
  const tables = { keyring: new Keyring(), routes: new RouteTable() }
  const metering = await startMetering({ config: setup.config, folder: setup.journalFolder, db, log })
  const metrics = startMetrics(db, log)
  const feed = new Feed({
    id: setup.id,
    source: sourceOf(db, metering, metrics),
    tables,
    clock,
    log,
    snapshotPath: setup.snapshotPath,
    pollMs: setup.config['tables.poll_milliseconds'],
    maxStaleSeconds: setup.config['tables.max_stale_seconds'],
  })
  await feed.load()
  const gateway = await startGateway({
    host: setup.config.host,
    port: setup.port,
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
  const stopping = new AbortController()
  const fed = feed.run(stopping.signal)
  tell({ kind: 'ready', port: gateway.port })
  return {
    stop: async () => {
      await gateway.close({ drainMs })
      await Promise.all([metering.stop(), metrics.stop()])
      stopping.abort()
      await fed
      await feed.leave()
      await db.close()
    },
  }
})

function sourceOf(db: Database, metering: Metering, metrics: Metrics): FeedSource {
  return {
    versions: () => currentVersions(db),
    keyringSince: (version) => keyringSince(db, version),
    routesSince: (version) => routesSince(db, version),
    onPublished: (look) => db.listen(tablesChannel, look),
    report: (state, now) => report(db, { ...state, journal: metering.report(), process: metrics.process() }, now),
    announce: () => notifyNow(db, demandChannel),
    markUsed: (usedAt) => markUsed(db, usedAt),
    unregister: (id, lastReportAt) => unregister(db, id, lastReportAt),
  }
}
