/**
 * `paddock upload` as a person runs it, over a line that the test holds and cuts: progress, refusals, and going on after
 * Ctrl-C, a SIGKILL and a line that broke.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server as NetServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { signalProcess } from '../../src/runtime/processes.ts'
import { packageRoot } from '../../src/runtime/self.ts'
import { Command, type CommandOptions, paddock } from './command.ts'
import type { Server } from './harness.ts'
import type { Place } from './place.ts'

/** Of the server's settings. */
export const uploadLimits = { PADDOCK_MODELS_UPLOAD_MAX_BYTES: '30000000', PADDOCK_QUOTA_UPLOAD_BYTES: '40000000' }
const longMs = 60_000
const mebibyte = 1024 * 1024

/** Everything goes through here: how much, and no further than it may. */
class Line {
  sent = 0
  /** Bytes after which nothing more is passed on; whoever waits for it is told. */
  holdAfter = Number.POSITIVE_INFINITY
  isHeld = false
  readonly #server: NetServer
  readonly #sockets = new Set<Socket>()

  constructor(to: number) {
    this.#server = createServer((near) => {
      const far = connect(to, '127.0.0.1')
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(one)
        one.on('error', () => {})
        one.on('close', () => other.destroy())
        one.on('end', () => other.end())
      }
      far.on('data', (piece) => near.write(piece))
      near.on('data', (piece) => {
        this.sent += piece.length
        far.write(piece)
        if (this.sent < this.holdAfter) return
        this.isHeld = true
        near.pause()
      })
    })
  }

  async listen(): Promise<number> {
    await new Promise<void>((ready) => this.#server.listen(0, '127.0.0.1', ready))
    return (this.#server.address() as { port: number }).port
  }

  /** From now on; counts anew. */
  open(holdAfter = Number.POSITIVE_INFINITY): void {
    this.sent = 0
    this.isHeld = false
    this.holdAfter = holdAfter
  }

  held(): Promise<unknown> {
    return until(systemClock, 'so much was sent', longMs, () => this.isHeld)
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
  }

  close(): void {
    this.cut()
    this.#server.close()
  }
}

const starter = readFileSync(join(packageRoot, 'models', 'starter', 'paddock-starter.gguf'))
let place: Place
let line: Line
let port = 0

const args = (rest: string[]) => ['upload', ...rest, '--port', String(port)]
const run = (rest: string[], options: CommandOptions = {}) => paddock(place, args(rest), options)

/** `of`: the server, once it runs. */
export function uploadCommand(at: Place, of: () => Server): void {
  const file = (name: string) => join(at.root, name)
  before(async () => {
    place = at
    line = new Line(of().port)
    port = await line.listen()
    writeFileSync(file('My Model.gguf'), starter)
    writeFileSync(file('empty.gguf'), '')
    mkdirSync(file('folder.gguf'))
    // Begins as one does; then nothing is right.
    writeFileSync(file('junk.gguf'), Buffer.concat([Buffer.from('GGUF\x03\0\0\0'), Buffer.alloc(8 * mebibyte, 0xff)]))
    for (const [name, bytes] of [
      ['large.gguf', 31_000_000],
      ['second.gguf', 29_000_000],
    ] as const) {
      writeFileSync(file(name), '')
      truncateSync(file(name), bytes)
    }
  })
  after(() => line?.close())
  refusals(of)
  goingOn(of)
}

function refusals(of: () => Server): void {
  test('upload says what is wrong before anything is sent', async () => {
    const server = of()
    const { id } = await server.native.createOrg({ name: 'elsewhere' })
    const { secret } = await server.as(server.operatorKey, id).createKey({ name: 'theirs', role: 'owner' })
    const theirs = { env: { PADDOCK_API_KEY: secret } }
    line.open()
    const wrong = await Promise.all(
      (
        [
          [['nowhere.gguf'], 2, /nowhere\.gguf cannot be read \(ENOENT\)/],
          [['folder.gguf'], 2, /folder\.gguf is no file/],
          [['empty.gguf'], 2, /empty\.gguf is empty/],
          [['My Model.gguf', '--name', 'Größe'], 1, /name: "Größe" is not a name for a model/],
          [['My Model.gguf', '--name', '../x'], 1, /not a name for a model/],
          [['large.gguf'], 1, /may have 30000000 bytes/],
          [['My Model.gguf', '--deployment', 'starter'], 3, /no deployment "starter"/, theirs],
        ] as const
      ).map(async ([rest, status, says, options]) => ({ says, status, got: await run([...rest], options) })),
    )
    for (const { says, status, got } of wrong) {
      assert.match(got.stderr, says, JSON.stringify(got))
      assert.deepEqual([got.status, got.stdout], [status, ''], JSON.stringify(got))
    }
    assert.ok(line.sent < 64 * 1024, `${line.sent} bytes were sent`)
  })

  test('what is no model is refused after its beginning, and no more is sent', async () => {
    line.open()
    const { status, stderr } = await run(['junk.gguf'])
    assert.notEqual(status, 0)
    assert.match(stderr, /not a usable GGUF file/)
    assert.ok(line.sent < 2 * mebibyte, `${line.sent} bytes were sent`)
    assert.equal((await run(['junk.gguf'])).status, status, 'its name is free')
  })
}

function goingOn(of: () => Server): void {
  test('interrupted by Ctrl-C, by SIGKILL and by its line, the same command goes on; then it is ready', async () => {
    const hash = createHash('sha256').update(starter).digest('hex')
    const half = starter.length / 2
    line.open(half)
    const first = new Command(place, args(['My Model.gguf']))
    await line.held()
    first.child.kill('SIGINT')
    const interrupted = await first.ended
    assert.equal(interrupted.status, 130, JSON.stringify(interrupted))
    assert.match(interrupted.stderr, /^uploading 0 %/m)
    assert.match(interrupted.stderr, /same command again goes on/)
    line.cut()
    line.open(half / 2)
    const second = new Command(place, args(['My Model.gguf']))
    await line.held()
    second.child.kill('SIGKILL')
    assert.match((await second.ended).stderr, /Going on with the upload of my-model\./)
    line.cut()
    // The third goes through a line that breaks, and a front door that dies.
    line.open(200_000)
    const third = new Command(place, args(['My Model.gguf']))
    await line.held()
    signalProcess(place.process('gateway'), 'SIGKILL')
    line.open()
    line.cut()
    const done = await third.ended
    assert.equal(done.status, 0, JSON.stringify(done))
    assert.ok(done.stdout.includes(`byom:my-model is ready (sha256 ${hash})`), done.stdout)
    assert.match(done.stdout, /Deploy it: {2}paddock deploy byom:my-model/)
    assert.ok(line.sent < starter.length, `${line.sent} bytes were sent again`)
    const again = await run(['My Model.gguf'])
    assert.notEqual(again.status, 0)
    assert.match(again.stderr, /There is a model "my-model" already/)
  })

  test('the quota counts what is there and what is on its way', async () => {
    const client = of().native
    const { id } = await client.beginUpload({ name: 'coming', bytes: 15_000_000 })
    const { status, stderr } = await run(['second.gguf'])
    assert.notEqual(status, 0)
    assert.match(stderr, /may keep 40000000 bytes/)
    for (const one of [id, 'my-model']) await client.deleteUploadedModel(one)
  })
}
