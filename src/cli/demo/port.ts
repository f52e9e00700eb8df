/** A port for the demo: the wanted one, or a free one when somebody else has it. */
import { createServer } from 'node:net'

export const demoHost = '127.0.0.1'

export async function choosePort(wanted: number): Promise<{ port: number; taken: boolean }> {
  const port = await tryPort(wanted)
  if (port !== null) return { port, taken: false }
  const free = await tryPort(0)
  if (free === null) throw new Error(`No port on ${demoHost} can be listened on.`)
  return { port: free, taken: true }
}

/** The port that was bound and let go again; null when it cannot be had. */
function tryPort(wanted: number): Promise<number | null> {
  const probe = createServer()
  return new Promise((resolve) => {
    probe.once('error', () => resolve(null))
    probe.listen({ host: demoHost, port: wanted, exclusive: true }, () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => resolve(port))
    })
  })
}
