/**
 * What Paddock adds when a request comes to a deployment that sleeps: from the request to the first token on the real
 * server, less the engine's own start (as its replica's start has it, from the start of its process until it says that
 * it is ready) and its own first token (the first request to the same engine started directly). And where that time goes.
 */
import { loadavg } from 'node:os'
import { type Server, startServer } from '../test/e2e/harness.ts'
import { Place } from '../test/e2e/place.ts'
import { asleepAndGone } from '../test/elastic/world.ts'
import { engineAlone, firstContent, question } from './alone.ts'
import { median } from './median.ts'
import type { Bench } from './report.ts'

const rounds = 7
const roundsQuick = 2
const targetMs = 250

/** The stations of a wake, ms since epoch. */
interface Wake {
  asked: number
  /** The autoscaler has written that one is wanted. */
  wanted: number
  /** Its hardware is reserved. */
  planned: number
  /** Its engine's process begins, and says that it is ready. */
  launched: number
  ready: number
  /** A turn has written that it is ready, and with it the route. */
  seen: number
  firstToken: number
}

export const bench: Bench = {
  name: 'wake',
  about: `request to one that sleeps until its first token, less the engine’s own start and first token (median of ${rounds})`,
  run: async (report, { quick }) => {
    const place = new Place()
    try {
      const server = await startServer(place)
      const scaling = { min_replicas: 0, max_replicas: 1, idle_timeout_seconds: 3_600 }
      const { id } = await server.deploy('sleeper', { scaling })
      await server.active(id)
      const [wakes, own]: [Wake[], number[]] = [[], []]
      for (let round = 0; round < (quick ? roundsQuick : rounds); round++) {
        own.push((await engineAlone()).firstToken * 1000)
        await server.native.sleepDeployment(id)
        await asleepAndGone(server, id)
        wakes.push(await wakeOnce(server, id))
      }
      await server.native.deleteDeployment(id)
      await server.gone(id)
      await server.stop()
      const tell = (name: string, values: number[], target?: number) =>
        report({
          name,
          value: median(values),
          unit: 'ms',
          why: `load ${loadavg()[0]!.toFixed(1)}`,
          ...(target === undefined ? {} : { target }),
        })
      tell(
        'request at zero to first token',
        wakes.map((w) => w.firstToken - w.asked),
      )
      tell(
        'engine: its start',
        wakes.map((w) => w.ready - w.launched),
      )
      tell('engine alone: its first token', own)
      for (const [name, part] of parts) tell(`  ${name}`, wakes.map(part))
      const added = wakes.map((w, round) => w.firstToken - w.asked - (w.ready - w.launched) - own[round]!)
      tell('added by Paddock', added, targetMs)
    } finally {
      await place.remove()
    }
  },
}

const parts: [name: string, ms: (wake: Wake) => number][] = [
  ['request → a replica is wanted', (w) => w.wanted - w.asked],
  ['wanted → its hardware is reserved', (w) => w.planned - w.wanted],
  ['reserved → the engine’s process begins', (w) => w.launched - w.planned],
  ['engine is ready → it is known and published', (w) => w.seen - w.ready],
  ['published → first token', (w) => w.firstToken - w.seen],
]

async function wakeOnce(server: Server, id: string): Promise<Wake> {
  const [asked, began] = [Date.now(), performance.now()]
  const answer = await server.native.chatCompletions(id, question)
  const firstToken = asked + (await firstContent(answer, began)) * 1000
  const latest = async (type: string) => (await server.native.listEvents(id, { type, limit: 1 })).data[0]!
  const at = ({ at }: { at: string }) => new Date(at).getTime()
  const ready = await latest('replica.ready')
  const { phases } = ready.data as { phases: { load: number; ready: number } }
  const [wanted, planned] = [at(await latest('deployment.scaled')), at(await latest('replica.planned'))]
  return { asked, wanted, planned, launched: phases.load, ready: phases.ready, seen: at(ready), firstToken }
}
