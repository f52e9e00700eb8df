/**
 * Stands before a general HTTP server: new connections are ours as long as they carry ordinary inference requests, and
 * go to it with whatever else they bring. Requests thereby cost about half (docs/decisions).
 */
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { Roster } from '../../kernel/roster.ts'
import type { Clock } from '../../runtime/clock.ts'
import { Deadlines } from '../../runtime/deadlines.ts'
import type { ClientRequest, ClientResponse } from './client.ts'
import { type Host, QuickConnection } from './quick-connection.ts'
import type { InferenceTarget } from './request-head.ts'

export type Serve = (request: ClientRequest, response: ClientResponse, target: InferenceTarget) => void

/** Idle connections are counted in tens of seconds. */
const idleTickMs = 1_000

export class Door implements Host {
  readonly limits: Host['limits']
  readonly serve: Serve
  readonly deadlines: Deadlines
  readonly #clock: Clock
  readonly #general: (socket: Socket) => void
  readonly #connections = new Roster<QuickConnection>()
  #date = ''
  #dateSecond = 0

  constructor(server: Server, parts: { limits: Host['limits']; serve: Serve; clock: Clock }) {
    this.limits = parts.limits
    this.serve = parts.serve
    this.#clock = parts.clock
    this.deadlines = new Deadlines(parts.clock, idleTickMs)
    const listeners = server.listeners('connection')
    this.#general = (socket) => {
      for (const listener of listeners) listener.call(server, socket)
    }
    server.removeAllListeners('connection')
    server.on('connection', (socket: Socket) => this.#connections.add(new QuickConnection(socket, this)))
  }

  date(): string {
    const now = this.#clock.now()
    const second = Math.floor(now / 1000)
    if (second !== this.#dateSecond) {
      this.#dateSecond = second
      this.#date = new Date(now).toUTCString()
    }
    return this.#date
  }

  handOver(connection: QuickConnection, socket: Socket): void {
    this.#connections.remove(connection)
    this.#general(socket)
  }

  gone(connection: QuickConnection): void {
    this.#connections.remove(connection)
  }

  closeIdle(): void {
    for (const connection of this.#connections.list()) connection.closeIfIdle()
  }

  closeAll(): void {
    for (const connection of this.#connections.list()) connection.destroy()
    this.deadlines.close()
  }
}
