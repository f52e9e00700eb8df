/**
 * Whoever receives uploads is killed while many come, each at a random offset of its own: what is stored always belongs to
 * a row, what was sent in one piece leaves nothing, and what is resumable goes on to the right hash. 200 uploads are
 * killed, 32 with each SIGKILL; with FULL=1: 2,000 (KILLS=… and SEED=… choose others).
 */
// test timeout: 900 s
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { tinyGguf } from '../models/uploads/testing.ts'
import { systemClock, until } from '../runtime/clock.ts'
import { modulePath } from '../runtime/self.ts'
import { basePath } from './endpoint.ts'
import { makeWorld, type World } from './testing.ts'

const kills = Number(process.env.KILLS ?? (process.env.FULL === '1' ? 2000 : 200))
const resumableAtOnce = 24
const formsAtOnce = 8
const waitMs = 120_000
const file = tinyGguf({}, 3_000_000)
randomBytes(2_900_000).copy(file, file.length - 2_900_000)
const sha256 = createHash('sha256').update(file).digest('hex')
const folder = mkdtempSync(join(tmpdir(), 'paddock-kill-'))
let world: World
let child: ChildProcess | null = null
let port = 0
before(async () => {
  world = await makeWorld()
})
after(async () => {
  child?.kill('SIGKILL')
  await world.close()
  rmSync(folder, { recursive: true, force: true })
})

async function start(): Promise<void> {
  const env = { PATH: process.env.PATH, FOLDER: folder, CONNECTION: JSON.stringify(world.db.connection) }
  const started = spawn(process.execPath, [modulePath('api/upload-kill.fixture')], {
    env,
    stdio: ['ignore', 'pipe', 2],
  })
  child = started
  let said = ''
  started.stdout!.setEncoding('utf8').on('data', (text: string) => (said += text))
  port = Number(await until(systemClock, 'the start', waitMs, () => /^(\d+)\n/.exec(said)?.[1]))
}

async function kill(): Promise<void> {
  const ended = new Promise((done) => child!.once('exit', done))
  child!.kill('SIGKILL')
  await ended
}

interface Said {
  status: number
  headers: IncomingMessage['headers']
}

interface Midway {
  /** So many bytes are sent in any case. */
  at: number
  /** Sends nothing more then; else it sends on. */
  stops: boolean
}

/** Sends `body`. status 0: the connection was cut. */
function send(method: string, path: string, headers: object, body: Buffer = Buffer.alloc(0), midway?: Midway) {
  return new Promise<Said>((resolve) => {
    const all = {
      authorization: `Bearer ${world.keys.ownerA}`,
      'tus-resumable': '1.0.0',
      'content-length': body.length,
    }
    const outgoing = request({ host: '127.0.0.1', port, method, path, agent: false, headers: { ...all, ...headers } })
    outgoing.on('error', () => resolve({ status: 0, headers: {} }))
    outgoing.on('response', (answer) => {
      answer.resume().on('error', () => {})
      resolve({ status: answer.statusCode ?? 0, headers: answer.headers })
    })
    let at = 0
    const more = () => {
      if (midway?.stops && at >= midway.at) return
      if (at >= body.length) return outgoing.end()
      const next = midway !== undefined && at < midway.at ? Math.min(at + 65_536, midway.at) : at + 65_536
      outgoing.write(body.subarray(at, next), () => setImmediate(more))
      at = next
    }
    more()
  })
}

/** What is stored comes in pieces of a mebibyte and what a socket gives at once. */
const bufferedBytes = 1_200_000

/** Sends many at once and kills when a part of it, by chance, is stored. */
function killedMidway(random: () => number) {
  const sends: Promise<Said>[] = []
  const before = storedBytes()
  let sure = 0
  return {
    send(method: string, path: string, headers: object, body: Buffer): void {
      const at = Math.floor(random() * body.length)
      sure += Math.max(0, at - bufferedBytes)
      // A form that came whole would be a model.
      const stops = method === 'POST' || random() < 0.5
      sends.push(send(method, path, headers, body, { at, stops }))
    },
    async kill(): Promise<void> {
      const share = random() * sure
      await until(systemClock, 'enough is stored', waitMs, () => storedBytes() >= before + share)
      await kill()
      await Promise.all(sends)
    },
  }
}

const stored = () => readdirSync(folder, { recursive: true, withFileTypes: true }).filter((one) => one.isFile())

function storedBytes(): number {
  return stored().reduce((sum, { parentPath, name }) => {
    return sum + (statSync(join(parentPath, name), { throwIfNoEntry: false })?.size ?? 0)
  }, 0)
}

async function owned(): Promise<boolean> {
  const rows = await world.db.query<{ id: string; resumable: boolean }>('select id, resumable from uploads')
  return (
    rows.every(({ resumable }) => resumable) && stored().every(({ name }) => rows.some(({ id }) => name.startsWith(id)))
  )
}

test('killed at any moment: nothing without a row, nothing of a form, and the rest goes on', async () => {
  const random = seeded(Number(process.env.SEED ?? 1))
  const offsets = new Map<string, number>()
  await start()
  let broken = 0
  for (let killed = 0, round = 0; killed < kills; round += 1) {
    const names = Array.from({ length: resumableAtOnce - offsets.size }, (_, n) => `m-${round}-${n}`)
    for (const location of await Promise.all(names.map(begin))) offsets.set(location, 0)
    const underWay = killedMidway(random)
    for (const [location, offset] of offsets) underWay.send('PATCH', location, from(offset), file.subarray(offset))
    for (let n = 0; n < formsAtOnce; n += 1) {
      const { headers, body } = formOf(`form-${round}-${n}`)
      underWay.send('POST', `${basePath}/models/upload`, headers, body)
    }
    await underWay.kill()
    killed += offsets.size + formsAtOnce
    await start()
    await until(systemClock, 'everything stored has a row', waitMs, owned)
    for (const location of [...offsets.keys()]) {
      const head = await send('HEAD', location, {})
      assert.equal(head.status, 200)
      const offset = Number(head.headers['upload-offset'])
      assert.ok(offset >= offsets.get(location)! && offset <= file.length, `${offset}`)
      if (offset > 0 && offset < file.length) broken += 1
      if (offset < file.length) offsets.set(location, offset)
      else await finished(location, offsets)
    }
  }
  assert.ok(broken > kills / 20, `only ${broken} were broken off in their middle`)
  const rest = [...offsets].map(([location, offset]) => send('PATCH', location, from(offset), file.subarray(offset)))
  for (const { status } of await Promise.all(rest)) assert.equal(status, 204)
  for (const location of [...offsets.keys()]) await finished(location, offsets)
  await until(systemClock, 'all of it is gone', waitMs, () => stored().length === 0)
  await kill()
})

async function begin(name: string): Promise<string> {
  const headers = { 'upload-length': file.length, 'upload-metadata': `name ${btoa(name)}` }
  const made = await send('POST', `${basePath}/models/uploads`, headers)
  assert.equal(made.status, 201)
  return made.headers.location!
}

const from = (offset: number) => ({ 'content-type': 'application/offset+octet-stream', 'upload-offset': offset })

/** Ready, with the right hash; then deleted. */
async function finished(location: string, offsets: Map<string, number>): Promise<void> {
  const id = location.split('/').at(-1)!
  const row = await until(systemClock, 'it is ready', waitMs, async () => {
    const [found] = await world.db.query<{ status: string; sha256: string }>('select * from uploads where id = $1', [
      id,
    ])
    return found?.status === 'ready' && found
  })
  assert.equal(row.sha256, sha256)
  assert.equal((await send('DELETE', `${basePath}/models/byom/${id}`, {})).status, 200)
  offsets.delete(location)
}

function formOf(name: string): { headers: object; body: Buffer } {
  const part = (head: string) => Buffer.from(`--b\r\ncontent-disposition: form-data; ${head}\r\n\r\n`)
  const body = Buffer.concat([
    part('name="file"; filename="f"'),
    file,
    Buffer.from('\r\n'),
    part('name="name"'),
    Buffer.from(`${name}\r\n--b--\r\n`),
  ])
  return { headers: { 'content-type': 'multipart/form-data; boundary=b' }, body }
}

/** The same everywhere. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    return state / 0x80000000
  }
}
