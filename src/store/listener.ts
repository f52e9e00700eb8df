/**
 * One connection that hears the notifications of every channel. It reconnects for ever; after each (re)connection every
 * listener is called once, since anything may have been missed. Notifications only make things faster: whoever relies
 * on them also looks by itself from time to time.
 */
import pg from 'pg'
import type { Clock } from '../runtime/clock.ts'

const reconnectEveryMs = 200
/** A connection that is dead without having said so is found within this. */
const askEveryMs = 15_000
const askTimeoutMs = 5_000

type OnNotify = (payload: string) => void

export class Listener {
  readonly #config: pg.ClientConfig
  readonly #clock: Clock
  readonly #log: (line: string) => void
  readonly #channels = new Map<string, Set<OnNotify>>()
  readonly #closed = new AbortController()
  #client: pg.Client | null = null
  #running: Promise<void> | null = null

  constructor(config: pg.ClientConfig, clock: Clock, log: (line: string) => void) {
    this.#config = config
    this.#clock = clock
    this.#log = log
  }

  add(channel: string, onNotify: OnNotify): () => void {
    const known = this.#channels.get(channel)
    const set = known ?? new Set<OnNotify>()
    set.add(onNotify)
    if (!known) this.#channels.set(channel, set)
    this.#running ??= this.#run()
    if (this.#client) void this.#hear(this.#client, channel, [onNotify])
    return () => set.delete(onNotify)
  }

  async close(): Promise<void> {
    this.#closed.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    while (!this.#closed.signal.aborted) {
      const client = new pg.Client({ ...this.#config, query_timeout: askTimeoutMs })
      try {
        await this.#session(client)
      } catch {
        // Away or broken: tried again below.
      }
      this.#client = null
      await client.end().catch(() => {})
      await this.#clock.sleep(reconnectEveryMs, this.#closed.signal)
    }
  }

  /** Until the connection breaks or we are closed. */
  async #session(client: pg.Client): Promise<void> {
    const broken = new AbortController()
    client.on('error', () => broken.abort())
    client.on('end', () => broken.abort())
    client.on('notification', ({ channel, payload }) => this.#tell(this.#channels.get(channel) ?? [], payload ?? ''))
    await client.connect()
    this.#client = client
    for (const [channel, listeners] of this.#channels) await this.#hear(client, channel, listeners)
    const over = AbortSignal.any([broken.signal, this.#closed.signal])
    while (!over.aborted) {
      await this.#clock.sleep(askEveryMs, over)
      if (!over.aborted) await client.query('select 1')
    }
  }

  async #hear(client: pg.Client, channel: string, listeners: Iterable<OnNotify>): Promise<void> {
    try {
      await client.query(`listen ${pg.escapeIdentifier(channel)}`)
      this.#tell(listeners, '')
    } catch {
      // The connection broke: its session ends, and the next one listens to every channel.
      void client.end().catch(() => {})
    }
  }

  #tell(listeners: Iterable<OnNotify>, payload: string): void {
    for (const onNotify of listeners) {
      try {
        onNotify(payload)
      } catch (error) {
        this.#log(`A listener failed: ${String(error)}`)
      }
    }
  }
}
