/** The Hub as the settings have it. */
import { join } from 'node:path'
import type { ComputeDriver } from './compute/contract.ts'
import type { ModelCatalogue } from './models/catalogue.ts'
import { type Hub, type HubOptions, makeHub } from './models/hub/setup.ts'
import type { Config } from './runtime/settings.ts'

interface Home {
  config: Config
  dataFolder: string
}

export function hubFolder({ config, dataFolder }: Home): string {
  return config['hub.cache_folder'] || join(dataFolder, 'hub')
}

/** Also where adapters come from. */
export function openHub(
  home: Home,
  { models, ...parts }: Pick<HubOptions, 'db' | 'seal' | 'clock' | 'log'> & { models: ModelCatalogue },
): Hub {
  const hub = makeHub({ ...parts, ...hubOptions(home), bases: () => models.bases() })
  if (hub.adapters !== null) models.adapters.add(hub.adapters)
  return hub
}

function hubOptions(home: Home): Omit<HubOptions, 'db' | 'seal' | 'clock' | 'log' | 'bases'> {
  const { config } = home
  return {
    endpoint: config['hub.endpoint'],
    folder: hubFolder(home),
    timeoutMs: config['hub.timeout_seconds'] * 1000,
    limits: { bytesMaximum: config['hub.cache_max_bytes'], freeBytesMinimum: config['hub.min_free_bytes'] },
    filesAtOnce: config['hub.files_at_once'],
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
