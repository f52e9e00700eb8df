/** Control: the API, the loops and the drivers, in a process of their own. Inference goes on without it. */
import { chmodSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createAdaptorServer } from '@hono/node-server'
import { Access } from './access/commands.ts'
import { journalReports } from './access/gateways.ts'
import { makeApi } from './api/app.ts'
import { Scaling } from './autoscaling/commands.ts'
import { Autoscaler } from './autoscaling/loop.ts'
import { type DecideSettings, defaultDecideSettings } from './autoscaling/state.ts'
import { type AdapterContext, Adapters } from './deployments/adapters/commands.ts'
import { AdapterLoop } from './deployments/adapters/loop.ts'
import { CalendarLoop } from './deployments/calendar-loop.ts'
import { Deployments } from './deployments/commands.ts'
import { Lifecycle } from './deployments/lifecycle.ts'
import { DeploymentLimits } from './deployments/limits.ts'
import { DeploymentLoop } from './deployments/loop.ts'
import { DeploymentMetrics } from './deployments/metrics.ts'
import { modelUsers } from './deployments/model-users.ts'
import { Quotas } from './deployments/quotas.ts'
import { Schedules } from './deployments/schedules.ts'
import { installedEngines } from './engines/registry.installed.ts'
import { enginesOf } from './engines/registry.ts'
import { Secret } from './kernel/secret.ts'
import { loadCatalogue, type ModelPolicy } from './models/catalogue.ts'
import { Models } from './models/commands.ts'
import { loadHardware } from './models/hardware.ts'
import { systemClock as clock } from './runtime/clock.ts'
import { memoryBytes } from './runtime/environment.ts'
import { type Log, makeLog } from './runtime/log.ts'
import { Seal } from './runtime/seal.ts'
import { version } from './runtime/self.ts'
import type { Config } from './runtime/settings.ts'
import { runPart } from './server-child.ts'
import { fetchingDrivers, hubFolder, openHub } from './server-hub.ts'
import { controlMetrics } from './server-metrics.ts'
import { readOwnModels } from './server-models.ts'
import { type ControlSetup, computeDrivers } from './server-parts.ts'
import { makeUploads, openUploads, withUploads } from './server-uploads.ts'
import { type Database, openDatabase } from './store/database.ts'
import { journalGauges } from './usage/gauges.ts'
import { keepLedger } from './usage/loop.ts'

runPart<ControlSetup>(async (setup, tell) => {
  const { config } = setup
  const log = makeLog(config['log.level'], 'control')
  const db = openDatabase({ connection: setup.connection, name: 'paddock control', log: (line) => log.warn({}, line) })
  const stopping = new AbortController()
  const seal = new Seal(new Secret(setup.secretKey))
  const models = loadCatalogue(modelPolicy(setup), readOwnModels(config['models.catalogue']))
  const hub = openHub(setup, { db, clock, seal, log, models })
  const places = await openUploads(config, setup, { db, clock, log })
  const parts = {
    db,
    clock,
    seal,
    log,
    computes: withUploads(config, fetchingDrivers(config, computeDrivers(config, setup, log), hub), places),
    engines: enginesHere(setup, log, stopping.signal),
    models,
    hardware: loadHardware(config['compute.prices'], cpuMemoryGib(config)),
  }
  const access = new Access(db, seal, clock)
  await access.ensureOperator(setup.operatorKey)
  const stopGraceSeconds = config['compute.local.stop_grace_seconds']
  // The same after every start, so that what a killed control had claimed is taken over at once.
  const owner = `control-${setup.instanceId}`
  const loop = new DeploymentLoop({ ...parts, settings: planSettings(config), stopGraceSeconds }, owner)
  const context = { ...parts, ...limitsOf(config), pin: hub.pin ?? undefined, wake: () => loop.wake() }
  const adapters = new AdapterLoop(parts)
  const catalogue = new Models({ ...context, users: modelUsers })
  await catalogue.refresh()
  const metrics = controlMetrics(db, log)
  const uploads = makeUploads(config, setup, places, context)
  const app = makeApi({
    ...parts,
    access,
    ...useCases({ ...context, lifecycle: new Lifecycle(context), look: () => adapters.wake() }),
    hubTokens: hub.tokens,
    ...uploads.use,
    catalogue,
    config: { publicUrl: setup.publicUrl },
    version,
    ready: () => ready(db),
    measured: metrics.read,
    gauges: journalGauges(() => journalReports(db, clock.now())),
  })
  const server = await listen(app.fetch, setup.socketPath)
  const loops = [
    loop.run(stopping.signal),
    loop.sweepForever(stopping.signal),
    new Autoscaler({ ...context, decideSettings: decideSettings(config) }).run(stopping.signal),
    new CalendarLoop(context).run(stopping.signal),
    adapters.run(stopping.signal),
    metrics.keep(stopping.signal),
    uploads.loop.run(stopping.signal),
    keepLedger({ db, clock, log, retentionDays: config['usage.retention_days'] }, stopping.signal),
  ]
  tell({ kind: 'ready' })
  return {
    stop: async () => {
      stopping.abort()
      server.close()
      await Promise.all(loops)
      await hub.close()
      await db.close()
    },
  }
})

function modelPolicy(setup: ControlSetup): ModelPolicy {
  const { config } = setup
  return {
    allowPaths: config['models.allow_paths'],
    starterStandsIn: config.fleet === 'emulated',
    simulated: config.fleet === 'simulated',
    ...(config['hub.endpoint'] === '' ? {} : { hubFolder: hubFolder(setup) }),
  }
}

function enginesHere({ config, dataFolder }: ControlSetup, log: Log, signal: AbortSignal) {
  return installedEngines(enginesOf(config.fleet), { file: join(dataFolder, 'engine-versions.json'), log, signal })
}

/** What is made up has no memory. */
function cpuMemoryGib(config: Config): number {
  if (config.fleet === 'simulated') return 0
  return config['compute.local.memory_gib'] || Math.round((memoryBytes() / 2 ** 30) * 10) / 10
}

/** What the API calls. */
function useCases(context: AdapterContext) {
  return {
    deployments: new Deployments(context),
    lifecycle: context.lifecycle,
    adapters: new Adapters(context),
    limits: new DeploymentLimits(context),
    scaling: new Scaling(context),
    quotas: new Quotas(context),
    schedules: new Schedules(context),
    metrics: new DeploymentMetrics(context),
  }
}

function limitsOf(config: Config) {
  return {
    replicasMaximum: config.replicas_maximum,
    cooldownMinimumSeconds: config['autoscaling.cooldown_minimum_seconds'],
    idleTimeoutMinimumSeconds: config['autoscaling.idle_timeout_minimum_seconds'],
    scheduleWindowsMaximum: config['schedule.windows_maximum'],
    leaseWarningSeconds: config['lease.warning_seconds'],
    quotaGpus: config['quota.gpus'],
    holdMaxSeconds: config['hold.max_seconds'],
    startExpectedSeconds: config['start.expected_seconds'],
    adaptersMaximum: config['adapters.maximum'],
    adapterSets: config['adapters.sets'],
    modelPaths: config['models.allow_paths'],
    reserveAfterMs: config['capacity.reserve_after_minutes'] * 60_000,
  }
}

function decideSettings(config: Config): DecideSettings {
  return {
    ...defaultDecideSettings,
    lookEverySeconds: config['autoscaling.look_every_seconds'],
    fastLookSeconds: config['autoscaling.fast_look_seconds'],
    queueDepthUp: config['autoscaling.queue_depth_up'],
    latencyUpMs: config['autoscaling.latency_up_ms'],
  }
}

function planSettings(config: Config) {
  return {
    startDeadlineMs: config['start.deadline_seconds'] * 1000,
    phaseDeadlineMs: {
      hardware: config['start.hardware_deadline_seconds'] * 1000,
      files: config['start.files_deadline_seconds'] * 1000,
      load: config['start.load_deadline_seconds'] * 1000,
      warmup: config['start.warmup_deadline_seconds'] * 1000,
    },
    coldStartTargetSeconds: config['start.cold_start_target_seconds'],
    stableMs: config['start.stable_seconds'] * 1000,
    brakeAfter: config['start.brake_after'],
    rollbackAfter: config['start.rollback_after'],
    backoffMs: config['start.backoff_seconds'] * 1000,
    backoffMaximumMs: config['start.backoff_maximum_seconds'] * 1000,
    unresponsiveMs: config['liveness.unresponsive_seconds'] * 1000,
    drainDeadlineMs: config['drain.deadline_seconds'] * 1000,
    reserveAfterMs: config['capacity.reserve_after_minutes'] * 60_000,
    refusedMs: config['capacity.refused_seconds'] * 1000,
    adapterSets: config['adapters.sets'],
  }
}

async function ready(db: Database): Promise<{ ok: boolean; problems: string[] }> {
  try {
    await db.query('select 1')
    return { ok: true, problems: [] }
  } catch {
    return { ok: false, problems: ['The database does not answer.'] }
  }
}

/** A socket file left by a killed control is in nobody's use: the supervisor runs one control at a time. */
function listen(fetch: (request: Request) => Response | Promise<Response>, socketPath: string) {
  rmSync(socketPath, { force: true })
  const server = createAdaptorServer({ fetch })
  return new Promise<typeof server>((done, fail) => {
    server.once('error', fail)
    server.listen(socketPath, () => {
      chmodSync(socketPath, 0o600)
      done(server)
    })
  })
}
