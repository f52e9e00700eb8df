/**
 * From a name on the Hub to exactly what will run: the commit, the files, and what they are. In this order, so that the
 * first thing that is wrong is the one that is said: the repository and its revision, whether the organisation's own token
 * may read it (asked each time, whatever lies in the cache), its files, what is in them, whether an engine runs it,
 * whether it fits on the disk.
 */
import type { ModelFiles } from '../../engines/contract.ts'
import { Fault } from '../../kernel/fault.ts'
import type { Secret } from '../../kernel/secret.ts'
import type { Clock } from '../../runtime/clock.ts'
import { type ModelShape, shapeOfConfig, shapeOfGguf } from '../fit/shape.ts'
import { GgufCheck } from '../gguf-check.ts'
import { embeddingArchitectures } from '../supported/architectures.ts'
import { basesOfGguf, judgeArchitecture, judgeLineage, type KnownBase, unsupported } from '../supported/judge.ts'
import { unreachable } from './answer.ts'
import { type Choice, chooseFiles } from './choose.ts'
import type { HubClient, HubPlace } from './client.ts'
import { bytesText, type RemoteFile, sumBytes } from './file.ts'
import { parseHubName } from './name.ts'

/** What a revision of a deployment keeps: the same files for ever, whatever the branch does. */
export interface HubSource {
  kind: 'hub'
  repo: string
  /** As it was asked for. */
  revision: string
  /** The commit that it was then. */
  sha: string
  format: ModelFiles['format']
  /** GGUF: path of the file to open. Safetensors: ''. */
  entry: string
  files: RemoteFile[]
  sizeBytes: number
  quantization: string | null
  architecture: string
  /** Tokens. */
  contextSize: number
  /** For the fit check; null = its config does not say enough. */
  shape: ModelShape | null
  /** Half a sentence: why these of several files; null = there was no choice. */
  why: string | null
  /** What its card and its files say that it was made of; absent: they do not, or it was pinned before this was kept. */
  bases?: string[]
}

export interface PinOptions {
  client: HubClient
  clock: Clock
  /** Longest that all questions together may take. */
  timeoutMs: number
  /** Most that the cache on disk holds; 0 = no limit. */
  cacheBytesMaximum: number
  /** What fine-tunes rest on. */
  bases: readonly KnownBase[]
}

const configBytesMaximum = 4 * 1024 * 1024

/** Throws Faults `hub_…`, `model_not_supported`, `model_file_unreadable`, `invalid_request`. */
export async function pinHubModel(
  modelId: string,
  token: Secret | null,
  formats: readonly ModelFiles['format'][],
  options: PinOptions,
): Promise<HubSource> {
  const name = parseHubName(modelId)
  return bounded(options, async (signal) => {
    const { client } = options
    const asked: HubPlace = { repo: name.repo, revision: name.revision, token }
    const model = await client.model(asked, signal)
    const place: HubPlace = { repo: model.repo, revision: model.sha, token }
    if (model.disabled) throw new Fault('hub_repo_disabled', `The Hub has disabled ${model.repo}.`)
    if (model.gated || model.private) await client.checkAccess(place, signal)
    const choice = chooseFiles(model.repo, await client.files(place, signal), name.choice, formats)
    checkRoom(model.repo, choice, options)
    const read =
      choice.format === 'gguf'
        ? await readGguf(client, place, choice, signal)
        : await readConfig(client, place, choice, signal)
    checkSupported(modelId, choice.format, read, options)
    const { architecture, contextSize, shape } = read
    const bases = [...new Set([...model.bases, ...read.bases])]
    const known = { architecture, contextSize, shape, sizeBytes: sumBytes(choice.files) }
    return {
      ...(bases.length === 0 ? {} : { bases }),
      kind: 'hub',
      repo: model.repo,
      revision: name.revision,
      sha: model.sha,
      ...choice,
      ...known,
    }
  })
}

/** What the files say of themselves. */
interface Read {
  architecture: string
  contextSize: number
  shape: ModelShape | null
  /** Models that it says it rests on. */
  bases: string[]
}

async function readConfig(client: HubClient, place: HubPlace, choice: Choice, signal: AbortSignal): Promise<Read> {
  const bytes = await client.read(place, 'config.json', configBytesMaximum, signal)
  const config = bytes === null ? null : object(bytes)
  if (config === null) throw unusable(place.repo, 'its config.json is no JSON object')
  const [architecture] = Array.isArray(config.architectures) ? (config.architectures as unknown[]) : []
  if (typeof architecture !== 'string') throw unusable(place.repo, 'its config.json names no architecture')
  const read = shapeOfConfig(config, sumBytes(choice.files.filter(({ path }) => path.endsWith('.safetensors'))))
  if (!read.ok) throw unusable(place.repo, `in its config.json ${read.why}`)
  const { base_model_name_or_path: base } = config
  const bases = typeof base === 'string' ? [base] : []
  return { architecture, contextSize: read.shape.contextSize, shape: read.shape, bases }
}

/** Only its head is fetched; that the size agrees with it shows a file that was cut off. */
async function readGguf(client: HubClient, place: HubPlace, choice: Choice, signal: AbortSignal): Promise<Read> {
  const check = new GgufCheck()
  let checked = check.push(Buffer.alloc(0))
  const take = (piece: Buffer) => {
    checked = check.push(piece)
    return checked.state === 'reading' ? 'more' : 'enough'
  }
  await client.begin(place, choice.entry, take, signal)
  if (checked.state === 'reading') checked = check.end()
  if (checked.state !== 'head')
    throw unusable(place.repo, `${choice.entry}: ${checked.state === 'broken' ? checked.why : 'it ends early'}`)
  const { pairs, sizeBytes } = checked.file
  const first = choice.files[0]!
  if (BigInt(first.sizeBytes) !== sizeBytes)
    throw unusable(place.repo, `${choice.entry} has ${first.sizeBytes} bytes where its header says ${sizeBytes}`)
  const type = pairs.get('general.type')
  if (typeof type === 'string' && type !== 'model')
    throw new Fault(
      'hub_no_weights',
      `${choice.entry} of ${place.repo} is no model but of the type ${JSON.stringify(type.slice(0, 40))}.`,
    )
  const read = shapeOfGguf(pairs, sumBytes(choice.files))
  if (!read.ok) throw unusable(place.repo, `${choice.entry}: ${read.why}`)
  return {
    architecture: read.shape.architecture,
    contextSize: read.shape.contextSize,
    shape: read.shape,
    bases: basesOfGguf(pairs),
  }
}

function checkSupported(modelId: string, format: ModelFiles['format'], read: Read, { bases }: PinOptions): void {
  const judged = judgeArchitecture(format, read.architecture)
  // What only embeds has engines that serve it, on a route of its own.
  if (!judged.ok && !embeddingArchitectures.has(read.architecture))
    throw unsupported(modelId, judged.why, judged.supported)
  const lineage = judgeLineage(read.architecture, read.bases, bases)
  if (!lineage.ok) throw unsupported(modelId, lineage.why, [])
}

/** Throws Fault `hub_too_large`. */
export function checkRoom(
  repo: string,
  { files }: Pick<Choice, 'files'>,
  { cacheBytesMaximum }: Pick<PinOptions, 'cacheBytesMaximum'>,
): void {
  const needed = sumBytes(files)
  if (cacheBytesMaximum === 0 || needed <= cacheBytesMaximum) return
  const limit = bytesText(cacheBytesMaximum)
  throw new Fault('hub_too_large', `${repo} needs ${bytesText(needed)}; this server keeps at most ${limit} of models.`)
}

function unusable(repo: string, why: string): Fault {
  return new Fault('model_file_unreadable', `${repo} cannot be used: ${why}.`, {
    action: 'Choose another repository, or ask its owner to correct it.',
  })
}

function object(bytes: Buffer): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null
  } catch {
    return null
  }
}

/** Whoever waits for the answer to a create is told in time that the Hub is slow. */
export async function bounded<T>(
  { clock, timeoutMs, client }: Pick<PinOptions, 'clock' | 'timeoutMs' | 'client'>,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const stop = new AbortController()
  const over = new AbortController()
  const { endpoint } = client.http
  const late = clock.sleep(timeoutMs, over.signal).then(() => {
    if (over.signal.aborted) return
    stop.abort()
  })
  try {
    return await work(stop.signal)
  } catch (error) {
    if (stop.signal.aborted) throw unreachable(`it did not answer within ${timeoutMs / 1000} s`, endpoint, error)
    throw error
  } finally {
    over.abort()
    await late
  }
}
