/**
 * Clients that create and remove keys and deployments while the server dies under them, and remember what they were
 * told. What was acknowledged must be there afterwards; what was not is sent again with the same idempotency key, and
 * must then exist exactly once.
 */
import assert from 'node:assert/strict'
import { systemClock } from '../../src/runtime/clock.ts'
import { ApiError, type NativeClient } from '../../src/wire/native/client.ts'
import type { ListOf } from '../../src/wire/native/fields.ts'
import type { Server } from '../e2e/harness.ts'
import { Random } from '../paper/random.ts'

/** So few that a machine with two cores can start them; as many again wait for hardware that is not there. */
const liveDeploymentsMaximum = { cpu: 2, h100: 2 }
type Hardware = keyof typeof liveDeploymentsMaximum
const pageItems = 100
const outagePauseMs = 20

interface Thing {
  kind: 'key' | 'deployment'
  hardware: Hardware
  name: string
  /** null until it was acknowledged. */
  id: string | null
  secret: string | null
  /** Its end was asked for, and whether that was acknowledged. */
  end: 'none' | 'asked' | 'acknowledged'
  /** Somebody is at it. */
  busy: boolean
}

export class Writers {
  readonly things: Thing[] = []
  /** Answers that said "done". */
  acknowledged = 0
  /** What was said, or not said, while the server was away: codes and how often. */
  readonly outages = new Map<string, number>()
  readonly #random: Random
  #made = 0

  constructor(seed: number) {
    this.#random = new Random(seed)
  }

  /** `clients` at once, until `end` is called; errors are what this is about and are remembered, not thrown. */
  write(server: Server, clients: number): { end: () => Promise<void> } {
    let writing = true
    const loop = async () => {
      while (writing) await this.#one(server.native)
    }
    const all = Promise.all(Array.from({ length: clients }, loop))
    return {
      end: async () => {
        writing = false
        await all
      },
    }
  }

  async #one(native: NativeClient): Promise<void> {
    const living = this.things.filter(({ id, end, busy }) => id !== null && end === 'none' && !busy)
    const roll = this.#random.float()
    const victim = living.length === 0 ? undefined : living[Math.floor(this.#random.float() * living.length)]
    if (roll < 0.25 && victim) return this.#attempt(victim, () => this.#end(native, victim))
    const hardware: Hardware = this.#random.chance(0.5) ? 'cpu' : 'h100'
    const kind = roll < 0.4 && this.#live(hardware) < liveDeploymentsMaximum[hardware] ? 'deployment' : 'key'
    const name = `${kind}-${(this.#made += 1)}`
    const thing: Thing = { kind, hardware, name, id: null, secret: null, end: 'none', busy: false }
    this.things.push(thing)
    await this.#attempt(thing, () => this.#create(native, thing))
  }

  #live(hardware: Hardware): number {
    return this.things.filter((one) => one.kind === 'deployment' && one.hardware === hardware && one.end === 'none')
      .length
  }

  async #attempt(thing: Thing, act: () => Promise<void>): Promise<void> {
    thing.busy = true
    try {
      await act()
      this.acknowledged += 1
    } catch (error) {
      if (!isOutage(error)) throw error
      this.outages.set(error.code, (this.outages.get(error.code) ?? 0) + 1)
      // The server is away: not in a spin.
      await systemClock.sleep(outagePauseMs)
    } finally {
      thing.busy = false
    }
  }

  async #create(native: NativeClient, thing: Thing): Promise<void> {
    const once = { idempotencyKey: `make-${thing.name}` }
    if (thing.kind === 'key') {
      const made = await native.createKey({ name: thing.name }, once)
      thing.secret = made.secret
      thing.id = made.id
    } else {
      const wish = { name: thing.name, model_id: 'paddock/starter', gpu_type: thing.hardware }
      thing.id = (await native.createDeployment(wish, once)).id
    }
  }

  async #end(native: NativeClient, thing: Thing): Promise<void> {
    thing.end = 'asked'
    if (thing.kind === 'key') await native.revokeKey(thing.id!)
    else await native.deleteDeployment(thing.id!)
    thing.end = 'acknowledged'
  }

  /** Sends again what was not answered; then everything must be there, once, and as it was last told. */
  async verify(server: Server): Promise<void> {
    const { native } = server
    for (const thing of this.things) {
      if (thing.id === null) await this.#create(native, thing)
      if (thing.end === 'asked') await this.#end(native, thing)
    }
    await this.#verifyKeys(native, server)
    await this.#verifyDeployments(native)
  }

  async #verifyKeys(native: NativeClient, server: Server): Promise<void> {
    const keys = await all((cursor) => native.listKeys({ limit: pageItems, cursor }))
    const named = keys.filter(({ name }) => name.startsWith('key-'))
    const wanted = this.things.filter(({ kind }) => kind === 'key')
    // The list holds valid keys only; of a revoked one nothing is left but its refusal.
    const valid = wanted.filter(({ end }) => end === 'none')
    same('keys', named.map(asText), valid.map(asText))
    for (const end of ['none', 'acknowledged'] as const) {
      const last = wanted.findLast((thing) => thing.end === end && thing.secret !== null)
      if (!last) continue
      const asked = await server
        .as(last.secret!)
        .listDeployments({ limit: 1 })
        .then(
          () => 200,
          (error: ApiError) => error.status,
        )
      assert.equal(asked, end === 'none' ? 200 : 401, `${last.name}, ${end}`)
    }
  }

  async #verifyDeployments(native: NativeClient): Promise<void> {
    const live = await all((cursor) => native.listDeployments({ limit: pageItems, cursor }))
    const deleted = await all((cursor) => native.listDeployments({ limit: pageItems, cursor, deleted: true }))
    const wanted = this.things.filter(({ kind }) => kind === 'deployment')
    const told = (ended: boolean) => wanted.filter(({ end }) => (end !== 'none') === ended).map(asText)
    const isOurs = ({ name }: { name: string }) => name.startsWith('deployment-')
    same('deployments', live.filter(isOurs).map(asText), told(false))
    same('deleted deployments', deleted.filter(isOurs).map(asText), told(true))
  }

  /** Deletes every deployment that is left. */
  async clear(native: NativeClient): Promise<void> {
    for (const thing of this.things)
      if (thing.kind === 'deployment' && thing.end === 'none') await this.#end(native, thing)
  }
}

function asText({ name, id }: { name: string; id: string | null }): string {
  return `${name} ${id}`
}

/** What is missing and what is there beside it; a name twice is beside it. */
function same(what: string, seen: string[], told: string[]): void {
  const missing = told.filter((one) => !seen.includes(one))
  const extra = seen.filter((one, index) => !told.includes(one) || seen.indexOf(one) !== index)
  assert.deepEqual({ missing, extra }, { missing: [], extra: [] }, what)
}

/** A lost answer, half an answer and a server that is away are the point; anything else is a failure of the test. */
function isOutage(error: unknown): error is ApiError {
  return error instanceof ApiError && (error.status === 0 || error.status >= 500 || error.code === 'not_paddock')
}

async function all<T>(page: (cursor: string | undefined) => Promise<ListOf<T>>): Promise<T[]> {
  const items: T[] = []
  for (let cursor: string | undefined; ; ) {
    const { data, next_cursor } = await page(cursor)
    items.push(...data)
    if (next_cursor === null) return items
    cursor = next_cursor
  }
}
