/** What the parts of the server are made of: the one list of drivers and the setups that travel to the processes. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { LocalCompute } from './compute/local/driver.ts'
import { availableEngines, runtimePackages } from './engines/registry.ts'
import { loadHardware } from './models/hardware.ts'
import { systemClock } from './runtime/clock.ts'
import type { Log } from './runtime/log.ts'
import { packageRoot } from './runtime/self.ts'
import type { Config } from './runtime/settings.ts'
import type { Connection } from './store/connection.ts'

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

export interface GatewaySetup {
  config: Config
  connection: Connection
  id: string
  port: number
  controlSocketPath: string
  snapshotPath: string
}
