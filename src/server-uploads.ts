/** Uploaded models in control: where they are stored, the use cases, and the loop that looks after them. */
import { join } from 'node:path'
import type { ComputeDriver } from './compute/contract.ts'
import type { LocalOptions } from './compute/local/options.ts'
import { Trials } from './compute/local/trial.ts'
import type { DeploymentContext } from './deployments/context.ts'
import { UploadUsers } from './deployments/uploads.ts'
import type { FetchNews } from './models/hub/fetch.ts'
import { tell as tellOf } from './models/hub/setup.ts'
import { UploadedAdapters } from './models/uploads/adapter-source.ts'
import { Uploads } from './models/uploads/commands.ts'
import type { UploadContext } from './models/uploads/context.ts'
import { Copies } from './models/uploads/copies.ts'
import { DiskStorage } from './models/uploads/disk-storage.ts'
import { UploadLoop } from './models/uploads/loop.ts'
import { Receiving } from './models/uploads/receiving.ts'
import { ResumableUploads } from './models/uploads/resumable.ts'
import { UploadSource } from './models/uploads/source.ts'
import type { ModelStorage } from './models/uploads/storage.ts'
import { judgeTrial, trialWithinMs } from './models/uploads/trial.ts'
import type { Log } from './runtime/log.ts'
import type { Config } from './runtime/settings.ts'
import { localOptions } from './server-parts.ts'

export interface UploadParts {
  /** What the API calls. */
  use: { uploads: Uploads; resumable: ResumableUploads }
  loop: UploadLoop
}

export interface UploadPlaces {
  storage: ModelStorage
  copies: Copies
}

interface Home {
  dataFolder: string
  instanceId: string
}

/** Where uploads are: stored, and brought to this machine. */
export async function openUploads(
  config: Config,
  home: Home,
  { db, clock, log }: Pick<DeploymentContext, 'db' | 'clock'> & { log: Log },
): Promise<UploadPlaces> {
  const folder = join(home.dataFolder, 'models')
  const storage = await storageOf(config, home, join(folder, 'uploads'))
  const limits = { bytesMaximum: config['models.copies_max_bytes'], freeBytesMinimum: config['hub.min_free_bytes'] }
  const tell = (news: FetchNews) => tellOf(db, news, new Date(clock.now()))
  return { storage, copies: new Copies({ folder: join(folder, 'copies'), storage, clock, log, limits, tell }) }
}

/** Where no engine reads weights, none are brought. */
export function withUploads(
  config: Config,
  drivers: ReadonlyMap<string, ComputeDriver>,
  { copies }: UploadPlaces,
): ReadonlyMap<string, ComputeDriver> {
  if (config.fleet === 'simulated') return drivers
  return new Map([...drivers].map(([name, driver]) => [name, copies.fetching(driver)]))
}

/** Also makes uploaded models known to the catalogue, so that they can be deployed. */
export function makeUploads(
  config: Config,
  home: Home,
  { storage, copies }: UploadPlaces,
  context: DeploymentContext & { log: Log },
): UploadParts {
  const { db, seal, clock, log, models } = context
  const parts: UploadContext = {
    ...{ db, seal, clock, log, storage, copies },
    limits: {
      fileBytes: config['models.upload_max_bytes'],
      orgBytes: config['quota.upload_bytes'],
      keptMs: config['models.upload_kept_hours'] * 3_600_000,
    },
    users: new UploadUsers(context),
    bases: () => models.bases(),
    ...(config.fleet === 'simulated' ? {} : { tryLoad: trialsOf(localOptions(config, config.fleet, home, log)) }),
    receiving: new Receiving(),
    holder: `control-${home.instanceId}`,
    wake: () => loop.wake(),
  }
  const loop = new UploadLoop(parts)
  models.addOwn(new UploadSource(copies, { simulated: config.fleet === 'simulated' }))
  models.adapters.add(new UploadedAdapters(copies))
  const uploads = new Uploads(parts)
  return { use: { uploads, resumable: new ResumableUploads(parts, uploads) }, loop }
}

/** Whether llama.cpp can load a file, as an engine of this machine would. */
export function trialsOf(options: LocalOptions): NonNullable<UploadContext['tryLoad']> {
  const trials = new Trials(options)
  return async (path, signal) =>
    judgeTrial(await trials.run('engines/llamacpp/worker/trial', path, { withinMs: trialWithinMs, signal }))
}

/** The bucket's library takes long to load: only where there is a bucket. */
async function storageOf(
  config: Config,
  { instanceId }: { instanceId: string },
  folder: string,
): Promise<ModelStorage> {
  if (config['models.bucket'] === '')
    return new DiskStorage(folder, { freeBytesMinimum: config['models.upload_min_free_bytes'] })
  const { S3Storage } = await import('./models/uploads/s3-storage.ts')
  return new S3Storage({
    bucket: config['models.bucket'],
    prefix: `${config['models.bucket_prefix'].replace(/\/*$/, '/')}${instanceId}/`,
    region: config['models.bucket_region'],
    endpoint: config['models.bucket_endpoint'],
    pathStyle: config['models.bucket_path_style'],
    accessKeyId: config['models.bucket_access_key_id'],
    secretAccessKey: config['models.bucket_secret_access_key'],
    folder,
  })
}
