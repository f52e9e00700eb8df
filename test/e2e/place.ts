/** Where a test's Paddock lives: one folder of its own that at the end is gone, with everything that came from it. */
import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock, until } from '../../src/runtime/clock.ts'
import { readJsonIfThere } from '../../src/runtime/files.ts'
import { defaultUidBase, engineUidCount, runsAsRoot } from '../../src/runtime/isolation.ts'
import { signalProcess } from '../../src/runtime/processes.ts'
import { packageRoot } from '../../src/runtime/self.ts'
import { type OwnProcess, processesBelow, type Role } from './processes.ts'

/** Where bin/paddock.mjs keeps compiled code. What is started from another place is told of it: else each compiles again. */
export const compiledFolder = join(packageRoot, 'node_modules', '.cache', 'paddock')
const endWithinMs = 30_000
/** A look at every process of the machine costs some milliseconds. */
const lookEveryMs = 100
/** Uids of one Paddock: Postgres and the engines. */
const uidCount = engineUidCount + 1

export interface PlaceOptions {
  /** Mode of the folder that holds everything; default: others may pass through, as in a home folder. */
  mode?: number
  /** Under root: stands in for /var/lib/paddock. Default: inside the place. */
  systemFolder?: string
  /** Path of the data folder below the place. */
  data?: string
}

export class Place {
  readonly root: string
  readonly dataFolder: string
  readonly systemFolder: string
  /** Under root: first of the uids that only this test uses, so that Paddocks side by side never meet. */
  readonly uidBase = nextUidBase()

  constructor({ mode = 0o711, systemFolder, data = 'data' }: PlaceOptions = {}) {
    this.root = mkdtempSync(join(realpathSync(tmpdir()), 'paddock-'))
    chmodSync(this.root, mode)
    this.dataFolder = join(this.root, data)
    this.systemFolder = systemFolder ?? join(this.root, 'system')
    mkdirSync(join(this.root, 'tmp'))
    chmodSync(join(this.root, 'tmp'), 0o1777)
  }

  /** null before the first start. */
  get instanceId(): string | null {
    const path = join(this.dataFolder, 'instance.json')
    return existsSync(path) ? (readJsonIfThere<{ id: string }>(path)?.id ?? null) : null
  }

  processes(...roles: Role[]): OwnProcess[] {
    const all = processesBelow(this.root, this.instanceId)
    return roles.length === 0 ? all : all.filter(({ role }) => roles.includes(role))
  }

  /** The one process of this role; throws when there is none or another one beside it. */
  process(role: Role): OwnProcess {
    const found = this.processes(role)
    assert.equal(found.length, 1, `one ${role}, found: ${shown(found)}`)
    return found[0]!
  }

  /** For `after`: ends what a failed test left. Nothing to do when the test was right. */
  killAll(): void {
    for (const one of this.processes()) signalProcess(one, 'SIGKILL')
  }

  async expectNoProcess(): Promise<void> {
    let left: OwnProcess[] = []
    const looked = () => {
      left = this.processes()
      return left.length === 0
    }
    await until(systemClock, 'no process left', endWithinMs, looked, lookEveryMs).catch(() =>
      assert.fail(`left running: ${shown(left)}`),
    )
  }

  /** No process, no shared memory, nothing outside the folder; then removes the folder. Fails on what it finds. */
  async remove(): Promise<void> {
    try {
      await this.expectNoProcess()
      await this.#expectNothingOutside()
    } finally {
      this.killAll()
      rmSync(this.root, { recursive: true, force: true, maxRetries: 20 })
    }
    assert.ok(!existsSync(this.root), `${this.root} is gone`)
  }

  async #expectNothingOutside(): Promise<void> {
    const temporary = namesIn(join(this.root, 'tmp')).filter((name) => name !== 'node-compile-cache')
    assert.deepEqual(temporary, [], 'in the folder for temporary files')
    const { instanceId } = this
    if (instanceId !== null)
      for (const folder of ['/var/lib/paddock', tmpdir(), '/tmp'])
        assert.deepEqual(
          namesIn(folder).filter((name) => name.includes(instanceId)),
          [],
          `of ours in ${folder}`,
        )
    if (!runsAsRoot()) return
    const owned = await Promise.all(['/tmp', '/dev/shm', tmpdir()].map((folder) => this.#ownedIn(folder)))
    assert.deepEqual(owned.flat(), [], 'files of our own uids outside the folder')
    assert.deepEqual(this.#sharedMemory(), [], 'shared memory segments of our own uids')
  }

  async #ownedIn(folder: string): Promise<string[]> {
    const paths = namesIn(folder).map((name) => join(folder, name))
    const owners = await Promise.all(
      paths.map((path) =>
        stat(path).then(
          ({ uid }) => uid,
          () => -1,
        ),
      ),
    )
    return paths.filter((path, index) => path !== this.root && this.#isOurs(owners[index]!))
  }

  #sharedMemory(): string[] {
    const lines = readFileSync('/proc/sysvipc/shm', 'utf8').trim().split('\n').slice(1)
    return lines.filter((line) => this.#isOurs(Number(line.trim().split(/\s+/)[7])))
  }

  #isOurs(uid: number): boolean {
    return uid >= this.uidBase && uid < this.uidBase + uidCount
  }
}

export function shown(processes: OwnProcess[]): string {
  return processes.map(({ pid, role, command }) => `${role} ${pid} (${command})`).join('; ') || 'none'
}

function namesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : []
}

/** Does the work in a place of its own. The first thing that goes wrong is what is reported. */
export async function inNewPlace(work: (place: Place) => Promise<void>, options: PlaceOptions = {}): Promise<void> {
  const place = new Place(options)
  try {
    await work(place)
  } catch (error) {
    place.killAll()
    await place.remove().catch(() => {})
    throw error
  }
  await place.remove()
}

let places = 0

/** Every test file runs in a process of its own. In a small user namespace there is only the usual range. */
function nextUidBase(): number {
  const map = existsSync('/proc/self/uid_map') ? readFileSync('/proc/self/uid_map', 'utf8') : ''
  const roomy = /^\s*0\s+\d+\s+4294967295\s*$/.test(map)
  if (!roomy) return defaultUidBase
  places += 1
  return 100_000 + ((process.pid % 50_000) * 30 + (places % 30)) * 1_000
}
