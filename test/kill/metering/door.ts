/** A door in front of the database: shut, nobody comes through, and who was through is thrown out. */

import type { AddressInfo } from 'node:net'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Connection } from '../../../src/store/connection.ts'

type Address = Extract<Connection, { host: string }>

export class Door {
  readonly connection: Connection
  readonly #server: Server
  readonly #sockets: Set<Socket>
  #isShut = false

  private constructor(server: Server, sockets: Set<Socket>, behind: Address) {
    this.#server = server
    this.#sockets = sockets
    this.connection = { ...behind, host: '127.0.0.1', port: (server.address() as AddressInfo).port }
  }

  static async open(behind: Connection): Promise<Door> {
    if ('url' in behind) throw new Error('the test database has a socket, not an address')
    const sockets = new Set<Socket>()
    let door: Door | null = null
    const server = createServer((outside) => {
      if (door === null || door.#isShut) {
        outside.on('error', () => {}).destroy()
        return
      }
      const inside = connect(join(behind.host, `.s.PGSQL.${behind.port}`))
      for (const [one, other] of [
        [outside, inside],
        [inside, outside],
      ] as const) {
        sockets.add(one)
        one.on('error', () => {})
        one.on('close', () => {
          sockets.delete(one)
          other.destroy()
        })
        one.pipe(other)
      }
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    door = new Door(server, sockets, behind)
    return door
  }

  shut(): void {
    this.#isShut = true
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Half a statement may have come through: the answer to it does not. */
  unshut(): void {
    this.#isShut = false
  }

  async close(): Promise<void> {
    this.shut()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
