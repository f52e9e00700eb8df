/** What the parts of the server are made of: the one list of drivers and the setups that travel to the processes. */
import { readdirSync, rmdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { ComputeDriver } from './compute/contract.ts'
import { LocalCompute, type LocalOptions } from './compute/local/driver.ts'
import { RemoteSimulatedCompute } from './compute/simulated/remote.ts'
import { runtimePackages } from './engines/registry.ts'
import { loadHardware } from './models/hardware.ts'
import { systemClock } from './runtime/clock.ts'
import type { Log } from './runtime/log.ts'
import { packageRoot } from './runtime/self.ts'
import type { Config } from './runtime/settings.ts'
import type { SimulationOptions } from './server-simulation.ts'
import type { Connection } from './store/connection.ts'
import { chooseSocketFolder } from './store/socket-folder.ts'

export interface ControlSetup {
  config: Config
  connection: Connection
  dataFolder: string
  instanceId: string
  operatorKey: string
  secretKey: string
  socketPath: string
  publicUrl: string
}

/** What the simulated fleet's process is made of. */
export type SimulatedSetup = Omit<SimulationOptions, 'clock'> & { folder: string }

/** Where the simulated fleet keeps its things; a data folder that has it belongs to a simulated fleet. */
export function simulatedFolder(dataFolder: string): string {
  return join(dataFolder, 'simulated')
}

const socketPathBytesMaximum = 100

/**
 * Control's socket: in the data folder when the path is short enough for a socket, else in a private folder of its own.
 * Every start has another name: the control of a killed server removes its own socket when it ends, perhaps late.
 */
export function controlSocketPath(dataFolder: string, instanceId: string): string {
  const name = `control-${process.pid}.sock`
  const fits = Buffer.byteLength(join(dataFolder, name)) <= socketPathBytesMaximum
  const folder = fits
    ? dataFolder
    : chooseSocketFolder({ folder: join(dataFolder, 'control'), account: null, instanceId })
  for (const stale of readdirSync(folder).filter((one) => /^control-\d+\.sock$/.test(one))) rmSync(join(folder, stale))
  return join(folder, name)
}

/** At the end: a folder outside the data folder would stay behind for ever. */
export function removeControlSocket(path: string, dataFolder: string): void {
  rmSync(path, { force: true })
  if (dirname(path) === dataFolder) return
  try {
    rmdirSync(dirname(path))
  } catch {
    // Not empty, or gone: somebody else's business.
  }
}

interface Home {
  dataFolder: string
  instanceId: string
}

/** A place for engines that lives and ends with this server: this machine, or the simulated fleet. */
export type OwnCompute = ComputeDriver & { endAll(options: { graceSeconds: number }): Promise<unknown> }

/** Holds no state: every process may have its own. */
export function ownCompute(config: Config, home: Home, log: Log): OwnCompute {
  return config.fleet === 'simulated'
    ? new RemoteSimulatedCompute(simulatedFolder(home.dataFolder))
    : new LocalCompute(localOptions(config, config.fleet, home, log))
}

export function localOptions(config: Config, fleet: 'local' | 'emulated', place: Home, log: Log): LocalOptions {
  return {
    folder: join(place.dataFolder, 'engines'),
    systemFolder: config.system_folder,
    instanceId: place.instanceId,
    fleet,
    cpuSlots: config['compute.local.cpu_slots'],
    leaseSeconds: config['compute.local.lease_seconds'],
    uidBase: config['isolation.uid_base'],
    gpuTypes: loadHardware(config['compute.prices'])
      .all()
      .filter((type) => type.slug !== 'cpu'),
    clock: systemClock,
    packageRoot,
    node: process.execPath,
    runtimePackages,
    log,
  }
}

export function computeDrivers(config: Config, home: Home, log: Log): Map<string, ComputeDriver> {
  const drivers = [ownCompute(config, home, log)]
  return new Map(drivers.map((driver) => [driver.name, driver]))
}
