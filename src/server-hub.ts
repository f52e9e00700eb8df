/** The Hub as the settings have it. */
import { join } from 'node:path'
import type { ComputeDriver } from './compute/contract.ts'
import type { Hub, HubOptions } from './models/hub/setup.ts'
import type { Config } from './runtime/settings.ts'

export function hubFolder(config: Config, dataFolder: string): string {
  return config['hub.cache_folder'] || join(dataFolder, 'hub')
}

export function hubOptions(config: Config, dataFolder: string): Omit<HubOptions, 'db' | 'seal' | 'clock' | 'log'> {
  return {
    endpoint: config['hub.endpoint'],
    folder: hubFolder(config, dataFolder),
    timeoutMs: config['hub.timeout_seconds'] * 1000,
    limits: { bytesMaximum: config['hub.cache_max_bytes'], freeBytesMinimum: config['hub.min_free_bytes'] },
    filesAtOnce: config['hub.files_at_once'],
    bases: [],
  }
}

/** Where no engine reads weights, none are brought. */
export function fetchingDrivers(
  config: Config,
  drivers: ReadonlyMap<string, ComputeDriver>,
  hub: Hub,
): ReadonlyMap<string, ComputeDriver> {
  if (config.fleet === 'simulated') return drivers
  return new Map([...drivers].map(([name, driver]) => [name, hub.fetching(driver)]))
}
