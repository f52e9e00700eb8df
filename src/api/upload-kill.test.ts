/**
 * Whoever receives uploads is killed at random moments: what is stored always belongs to a row, what was sent in one
 * piece leaves nothing, and what is resumable goes on to the right hash. 6 kills; with FULL=1: 200 (KILLS=… and
 * SEED=… choose others).
 */
// test timeout: 900 s
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { tinyGguf } from '../models/uploads/testing.ts'
import { systemClock, until } from '../runtime/clock.ts'
import { modulePath } from '../runtime/self.ts'
import { basePath } from './endpoint.ts'
import { makeWorld, type World } from './testing.ts'

const kills = Number(process.env.KILLS ?? (process.env.FULL === '1' ? 200 : 6))
const killsPerFile = 3
const waitMs = 60_000
const file = tinyGguf({}, 6_000_000)
randomBytes(5_000_000).copy(file, file.length - 5_000_000)
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

/** Sends `body`; `midway` is called once when so many bytes are out. status 0: the connection was cut. */
function send(
  method: string,
  path: string,
  headers: object,
  body: Buffer = Buffer.alloc(0),
  midway?: [number, () => void],
) {
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
    let isMidway = false
    const more = () => {
      if (midway !== undefined && !isMidway && at >= midway[0]) {
        isMidway = true
        midway[1]()
      }
      if (at >= body.length) return outgoing.end()
      outgoing.write(body.subarray(at, at + 65_536), () => setImmediate(more))
      at += 65_536
    }
    more()
  })
}

const stored = () => readdirSync(folder, { recursive: true, withFileTypes: true }).filter((one) => one.isFile())

async function owned(): Promise<boolean> {
  const rows = await world.db.query<{ id: string; resumable: boolean }>('select id, resumable from uploads')
  return (
    rows.every(({ resumable }) => resumable) && stored().every(({ name }) => rows.some(({ id }) => name.startsWith(id)))
  )
}

test('killed at any moment: nothing without a row, nothing of a form, and the rest goes on', async () => {
  const random = seeded(Number(process.env.SEED ?? 1))
  await start()
  for (let n = 0; n < kills; n += killsPerFile) {
    const metadata = `name ${Buffer.from(`m${n}`).toString('base64')}`
    const made = await send('POST', `${basePath}/models/uploads`, {
      'upload-length': file.length,
      'upload-metadata': metadata,
    })
    assert.equal(made.status, 201)
    const location = made.headers.location!
    let offset = 0
    for (let round = 0; round < killsPerFile; round += 1) {
      const rest = file.subarray(offset)
      const at = Math.floor(random() * rest.length)
      const type = { 'content-type': 'application/offset+octet-stream', 'upload-offset': offset }
      const dies = () => void child!.kill('SIGKILL')
      const form = formOf(`form-${n}-${round}`)
      if (round === 1) await send('POST', `${basePath}/models/upload`, form.headers, form.body, [at, dies])
      else await send('PATCH', location, type, rest, [at, dies])
      await kill()
      await start()
      await until(systemClock, 'everything stored has a row', waitMs, owned)
      const head = await send('HEAD', location, {})
      assert.equal(head.status, 200)
      offset = Number(head.headers['upload-offset'])
      assert.ok(offset >= 0 && offset <= file.length)
      if (offset === file.length) break
    }
    if (offset < file.length) {
      const type = { 'content-type': 'application/offset+octet-stream', 'upload-offset': offset }
      assert.equal((await send('PATCH', location, type, file.subarray(offset))).status, 204)
    }
    const id = location.split('/').at(-1)!
    const row = await until(systemClock, 'it is ready', waitMs, async () => {
      const [found] = await world.db.query<{ status: string; sha256: string }>('select * from uploads where id = $1', [
        id,
      ])
      return found?.status === 'ready' && found
    })
    assert.equal(row.sha256, sha256)
    assert.equal((await send('DELETE', `${basePath}/models/byom/${id}`, {})).status, 200)
    await until(systemClock, 'all of it is gone', waitMs, () => stored().length === 0)
  }
  await kill()
})

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
