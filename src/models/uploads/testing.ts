/** For tests: uploads over a folder of their own, and files to upload. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type GgufValue, ggufFile } from '../../../scripts/starter/gguf-file.ts'
import type { Clock } from '../../runtime/clock.ts'
import { silentLog } from '../../runtime/log.ts'
import type { Seal } from '../../runtime/seal.ts'
import { packageRoot } from '../../runtime/self.ts'
import type { Database } from '../../store/database.ts'
import type { ModelCatalogue } from '../catalogue.ts'
import type { FetchNews } from '../hub/fetch.ts'
import { tell as tellOf } from '../hub/setup.ts'
import { UploadedAdapters } from './adapter-source.ts'
import { Uploads } from './commands.ts'
import type { UploadContext } from './context.ts'
import { Copies } from './copies.ts'
import { DiskStorage } from './disk-storage.ts'
import { UploadLoop } from './loop.ts'
import { Receiving } from './receiving.ts'
import { ResumableUploads } from './resumable.ts'
import { UploadSource } from './source.ts'
import type { ModelUsers } from './users.ts'

export interface TestUploads {
  uploads: Uploads
  resumable: ResumableUploads
  context: UploadContext
  loop: UploadLoop
  folder: string
  /** Names of everything that is stored. */
  stored(): string[]
  close(): Promise<void>
}

export type TestUploadOptions = Partial<Pick<UploadContext, 'limits' | 'storage' | 'tryLoad' | 'clock'>> & {
  /** Room for copies of what is stored elsewhere. */
  copiesBytes?: number
}

export function testUploads(
  parts: { db: Database; seal: Seal; clock: Clock; models: ModelCatalogue } & TestUploadOptions,
  users: ModelUsers,
): TestUploads {
  const folder = mkdtempSync(join(tmpdir(), 'paddock-up-'))
  const { db, seal, clock, models, storage = new DiskStorage(join(folder, 'uploads')) } = parts
  const limits = { bytesMaximum: parts.copiesBytes ?? 10 ** 9, freeBytesMinimum: 0 }
  const tell = async (news: FetchNews) => tellOf(db, news, new Date(clock.now()))
  const copies = new Copies({ folder: join(folder, 'copies'), storage, clock, log: silentLog, limits, tell })
  const context: UploadContext = {
    ...{ db, seal, clock, log: silentLog, storage, copies, users },
    limits: parts.limits ?? { fileBytes: 10 ** 9, orgBytes: 10 ** 10, keptMs: 3_600_000 },
    ...(parts.tryLoad === undefined ? {} : { tryLoad: parts.tryLoad }),
    bases: () => models.bases(),
    receiving: new Receiving(),
    holder: 'control-test',
    wake: () => {},
  }
  const loop = new UploadLoop(context)
  models.addOwn(new UploadSource(copies, { simulated: false }))
  models.adapters.add(new UploadedAdapters(copies))
  const uploads = new Uploads(context)
  return {
    uploads,
    resumable: new ResumableUploads(context, uploads),
    context,
    loop,
    folder,
    stored: () =>
      readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((one) =>
        one.isFile() && !one.name.endsWith('.lock') ? [one.name] : [],
      ),
    close: async () => {
      await loop.settle().catch(() => {})
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A whole model that llama.cpp loads. */
export function starterFile(): Buffer {
  return readFileSync(join(packageRoot, 'models/starter/paddock-starter.gguf'))
}

/** The form of an upload; `parts` in this order. */
export function uploadForm(name: string, file: Uint8Array = tinyGguf()): FormData {
  const form = new FormData()
  form.set('file', new Blob([file as Uint8Array<ArrayBuffer>]), 'model.gguf')
  form.set('name', name)
  return form
}

export type TestValue = string | number | boolean

/** A GGUF with these pairs and one tensor of `dataBytes` zeros, of which `given` are in the buffer; default all. */
export function tinyGguf(pairs: Record<string, TestValue> = {}, dataBytes = 32, given = dataBytes): Buffer {
  const all = { 'general.architecture': 'llama', 'llama.context_length': 128, ...pairs }
  const values = Object.entries(all).map(([key, value]) => [key, ggufValue(value)] as const)
  return ggufFile(Object.fromEntries(values), [
    { name: 't', shape: [dataBytes / 4], data: new Float32Array(given / 4) },
  ])
}

function ggufValue(value: TestValue): GgufValue {
  if (typeof value === 'string') return { type: 'text', value }
  return typeof value === 'boolean' ? { type: 'bool', value } : { type: 'u32', value }
}
