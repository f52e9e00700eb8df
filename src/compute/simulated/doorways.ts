/**
 * A port for each engine, as real ones have: one that has ended refuses connections instead of breaking them. Costs a
 * listening socket a machine, so it is for hundreds of them, not for ten thousands.
 */
import { createServer, type RequestListener, type Server } from 'node:http'

/** The server of every engine: connections stay open, and long answers are no error. */
export const engineServer = { noDelay: true, requestTimeout: 0, keepAliveTimeout: 120_000 }
export const engineAddress = '127.0.0.1'

export class Doorways {
  readonly #serve: RequestListener
  readonly #open = new Map<string, Server>()

  constructor(serve: RequestListener) {
    this.#serve = serve
  }

  /** The port on which this one answers from now on; 0 = any. Rejects when the port is taken. */
  async open(id: string, port: number): Promise<number> {
    const server = createServer(engineServer, this.#serve)
    this.#open.set(id, server)
    return listen(server, port)
  }

  close(id: string): void {
    const server = this.#open.get(id)
    this.#open.delete(id)
    server?.close()
    server?.closeAllConnections()
  }

  closeAll(): void {
    for (const id of [...this.#open.keys()]) this.close(id)
  }
}

export function listen(server: Server, port: number): Promise<number> {
  return new Promise((listening, failed) => {
    server.once('error', failed)
    server.listen({ host: engineAddress, port }, () => {
      server.off('error', failed)
      listening((server.address() as { port: number }).port)
    })
  })
}
