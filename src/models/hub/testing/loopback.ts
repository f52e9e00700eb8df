/** For tests: a server of this machine that answers until it is closed, whatever is under way. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export abstract class LoopbackServer {
  #server: Server | null = null
  #port = 0

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** A rejection cuts the connection. */
  protected abstract answer(request: IncomingMessage, response: ServerResponse): Promise<void>

  async start(): Promise<this> {
    this.#server = createServer((request, response) => {
      void this.answer(request, response).catch(() => response.destroy())
    })
    await new Promise<void>((done) => this.#server!.listen(0, '127.0.0.1', done))
    this.#port = (this.#server.address() as AddressInfo).port
    return this
  }

  async close(): Promise<void> {
    const server = this.#server
    if (server === null) return
    await new Promise<void>((done) => {
      server.close(() => done())
      server.closeAllConnections()
    })
  }
}
