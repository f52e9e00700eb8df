/**
 * What Paddock adds between a create and the first token: the whole way over the API, less what the same engine with
 * the same model needs by itself, started directly on the same machine in turn.
 */
import { type Server, startServer } from '../test/e2e/harness.ts'
import { Place } from '../test/e2e/place.ts'
import { engineAlone, firstContent, question } from './alone.ts'
import { median } from './median.ts'
import type { Bench } from './report.ts'

const rounds = 5
const targetSeconds = 0.5

export const bench: Bench = {
  name: 'create',
  about: 'create to first token, less the engine’s own load and first token (median of 5)',
  run: async (report) => {
    const place = new Place()
    try {
      const server = await startServer(place)
      const [whole, own]: [number[], number[]] = [[], []]
      for (let round = 0; round < rounds; round++) {
        const { start, firstToken } = await engineAlone()
        own.push(start + firstToken)
        whole.push(await throughPaddock(server, `bench-${round}`))
      }
      await server.stop()
      report({ name: 'create to first token', value: median(whole), unit: 's' })
      report({ name: 'engine alone: start to first token', value: median(own), unit: 's' })
      const added = whole.map((seconds, round) => seconds - own[round]!)
      report({ name: 'added by Paddock', value: median(added), unit: 's', target: targetSeconds })
    } finally {
      await place.remove()
    }
  },
}

async function throughPaddock(server: Server, name: string): Promise<number> {
  const began = performance.now()
  const { id } = await server.deploy(name)
  const answer = await server.native.chatCompletions(id, question)
  const seconds = await firstContent(answer, began)
  await server.native.deleteDeployment(id)
  await server.gone(id)
  return seconds
}
