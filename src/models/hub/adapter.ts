/**
 * From a name on the Hub to exactly the LoRA adapter that it means: the commit, the files, and what their heads say. Asked
 * in the same order as for models, so that the first thing that is wrong is the one that is said. Weights are not fetched.
 */
import { join } from 'node:path'
import type { AdapterFormat } from '../../engines/contract.adapters.ts'
import { Fault } from '../../kernel/fault.ts'
import type { Secret } from '../../kernel/secret.ts'
import { type AdapterFile, headBytesMaximum, type Read, unreadable } from '../adapters/file.ts'
import { ggufAdapter } from '../adapters/gguf.ts'
import { configBytesMaximum, peftAdapter, safetensorsHead } from '../adapters/peft.ts'
import type { AdapterOrigin } from '../adapters/sources.ts'
import { GgufCheck } from '../gguf-check.ts'
import { snapshotPath } from './cache.ts'
import { type AdapterChoice, chooseAdapter, configFile, weightsFile } from './choose-adapter.ts'
import type { HubClient, HubPlace } from './client.ts'
import type { RemoteFile } from './file.ts'
import { sumBytes } from './file.ts'
import { parseHubName } from './name.ts'
import { bounded, checkRoom, type PinOptions } from './pin.ts'

export type HubAdapterOrigin = Extract<AdapterOrigin, { kind: 'hub' }>

export interface PinnedHubAdapter {
  file: AdapterFile
  origin: HubAdapterOrigin
}

interface AdapterPinOptions extends Omit<PinOptions, 'bases'> {
  /** Where files of the Hub are kept. */
  folder: string
}

/** Throws Faults `hub_…`, `adapter_…`, `invalid_request`. */
export async function pinHubAdapter(
  source: string,
  token: Secret | null,
  format: AdapterFormat,
  options: AdapterPinOptions,
): Promise<PinnedHubAdapter> {
  const name = parseHubName(source, 'source')
  return bounded(options, async (signal) => {
    const { client, folder } = options
    const model = await client.model({ repo: name.repo, revision: name.revision, token }, signal)
    const place: HubPlace = { repo: model.repo, revision: model.sha, token }
    if (model.disabled) throw new Fault('hub_repo_disabled', `The Hub has disabled ${model.repo}.`)
    if (model.gated || model.private) await client.checkAccess(place, signal)
    const choice = chooseAdapter(model.repo, await client.files(place, signal), name.choice, format)
    checkRoom(model.repo, choice, options)
    const { files, entry } = choice
    const origin: HubAdapterOrigin = {
      ...{ kind: 'hub', repo: model.repo, revision: name.revision, sha: model.sha },
      ...{ entry, files },
    }
    const path = pathOf(origin, folder)
    const read = choice.format === 'gguf' ? readGguf : readPeft
    const file = await read({ client, place, signal }, choice, path)
    return { file: { ...file, sizeBytes: sumBytes(files) }, origin }
  })
}

/** Where it is once it is here. */
export function pathOf(origin: HubAdapterOrigin, folder: string): string {
  return join(snapshotPath(folder, origin), origin.entry)
}

interface Asking {
  client: HubClient
  place: HubPlace
  signal: AbortSignal
}

async function readGguf(asking: Asking, { files }: AdapterChoice, path: string): Promise<AdapterFile> {
  const check = new GgufCheck()
  const head = await beginning(asking, files[0]!, (_bytes, piece) => {
    const checked = check.push(piece)
    if (checked.state === 'broken') throw unreadable(checked.why)
    return checked.state === 'head'
  })
  return ggufAdapter(path, { read: within(head), sizeBytes: files[0]!.sizeBytes, headBytes: head.length })
}

async function readPeft(asking: Asking, choice: AdapterChoice, path: string): Promise<AdapterFile> {
  const { client, place, signal } = asking
  const config = choice.files.find((file) => file.path.endsWith(configFile))!
  const weights = choice.files.find((file) => file.path.endsWith(weightsFile))!
  if (config.sizeBytes > configBytesMaximum) throw unreadable('its adapter_config.json is too large')
  const text = await client.read(place, config.path, configBytesMaximum, signal)
  if (text === null) throw unreadable('there is no adapter_config.json in it')
  const head = await beginning(asking, weights, (bytes) => {
    if (bytes.length < 8) return false
    const length = safetensorsHead(bytes, weights.sizeBytes)
    return length === null || bytes.length >= 8 + length
  })
  return peftAdapter(path, text.toString('utf8'), within(head), weights.sizeBytes)
}

/** The file as far as it is needed: until `isEnough`, and never more than a head may have. */
async function beginning(
  { client, place, signal }: Asking,
  file: RemoteFile,
  isEnough: (bytes: Buffer, piece: Buffer) => boolean,
): Promise<Buffer> {
  let bytes = Buffer.alloc(Math.min(file.sizeBytes, 1 << 20))
  let length = 0
  const take = (piece: Buffer) => {
    if (length + piece.length > bytes.length)
      bytes = Buffer.concat([bytes.subarray(0, length)], Math.max(2 * bytes.length, length + piece.length))
    piece.copy(bytes, length)
    length += piece.length
    if (length > headBytesMaximum + (1 << 20)) return 'enough'
    return isEnough(bytes.subarray(0, length), piece) ? 'enough' : 'more'
  }
  await client.begin(place, file.path, take, signal)
  return bytes.subarray(0, length)
}

function within(bytes: Buffer): Read {
  return (offset, length) => bytes.subarray(offset, offset + length)
}
