/** A control that only takes uploads, to be killed: FOLDER holds what it stores, CONNECTION says which database. */
import { createAdaptorServer } from '@hono/node-server'
import { Access } from '../access/commands.ts'
import { Secret } from '../kernel/secret.ts'
import { Uploads } from '../models/uploads/commands.ts'
import type { UploadContext } from '../models/uploads/context.ts'
import { Copies } from '../models/uploads/copies.ts'
import { DiskStorage } from '../models/uploads/disk-storage.ts'
import { UploadLoop } from '../models/uploads/loop.ts'
import { Receiving } from '../models/uploads/receiving.ts'
import { ResumableUploads } from '../models/uploads/resumable.ts'
import { systemClock as clock } from '../runtime/clock.ts'
import { silentLog as log } from '../runtime/log.ts'
import { Seal } from '../runtime/seal.ts'
import { openDatabase } from '../store/database.ts'
import { makeApi } from './app.ts'

const folder = process.env.FOLDER!
const db = openDatabase({ connection: JSON.parse(process.env.CONNECTION!) })
const seal = new Seal(new Secret('the secret of a test'))
const storage = new DiskStorage(`${folder}/uploads`)
const room = { bytesMaximum: 0, freeBytesMinimum: 0 }
const copies = new Copies({ folder: `${folder}/copies`, storage, clock, log, limits: room, tell: async () => {} })
const context: UploadContext = {
  ...{ db, seal, clock, log, storage, copies, receiving: new Receiving(), holder: 'control-killed' },
  limits: { fileBytes: 10 ** 9, orgBytes: 10 ** 10, keptMs: 3_600_000 },
  users: { check: async () => '', using: async () => [], roll: async () => {} },
  bases: () => [],
  wake: () => loop.wake(),
}
const loop = new UploadLoop(context)
const uploads = new Uploads(context)
const rest = null as never
const app = makeApi({
  ...{ deployments: rest, lifecycle: rest, limits: rest, scaling: rest, quotas: rest, schedules: rest, metrics: rest },
  ...{ models: rest, hardware: rest, catalogue: rest, hubTokens: rest, adapters: rest, engines: new Map(), clock, log },
  access: new Access(db, seal, clock),
  uploads,
  resumable: new ResumableUploads(context, uploads),
  config: { publicUrl: 'http://paddock.test' },
  ready: async () => ({ ok: true, problems: [] }),
  version: '0.0.0-test',
})
void loop.run(new AbortController().signal)
const server = createAdaptorServer({ fetch: app.fetch })
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${(server.address() as { port: number }).port}\n`)
})
