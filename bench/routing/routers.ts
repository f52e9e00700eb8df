/** Routers to compare: ours, the simple ones, and one that knows what nobody can know. */
import type { RouteReplica } from '../../src/deployments/routes.ts'
import { parseAsk } from '../../src/gateway/parse.ts'
import type { ReplicaState } from '../../src/gateway/pick.ts'
import { type Bounds, bounds } from '../../src/gateway/routing/choose.ts'
import { type Prompt, readPrompt } from '../../src/gateway/routing/prompt.ts'
import { makeRecentMemory } from '../../src/gateway/routing/recent.ts'
import { Router, rememberedDefault } from '../../src/gateway/routing/router.ts'
import type { Turn } from './conversation.ts'
import type { SimulatedEngine } from './engine.ts'
import type { MakeRouter, SimulatedRouter } from './simulation.ts'

export interface Variant {
  /** How many share the traffic and know nothing of each other. */
  gateways?: number
  by?: Bounds
  remembered?: number
  /** For plants: what it makes of a prompt. */
  seen?(prompt: Prompt): Prompt
}

/** The product's own, asked with the body that a client would send. */
export function ours(options: Variant = {}): MakeRouter {
  const { gateways = 1, by = bounds, remembered = rememberedDefault, seen = (prompt) => prompt } = options
  return (engines) => {
    const routers = Array.from({ length: gateways }, () => new Router(makeRecentMemory(remembered), by))
    const replicas = engines.map((_, i): RouteReplica => {
      return { id: `rep_${i}`, address: '127.0.0.1', port: 8000 + i, key: 'key', state: 'ready', weight: 100 }
    })
    const states = new Map<string, Load>(replicas.map(({ id }) => [id, new Load()]))
    const byEngine = replicas.map(({ id }) => states.get(id)!)
    const route = { deploymentId: 'dep_1', replicas }
    const prompts = new Map<Turn, Prompt>()
    let turns = 0
    return {
      send(turn) {
        const prompt = seen(promptOf(turn))
        const replica = routers[turns++ % gateways]!.pick(route, ({ id }) => states.get(id)!, null, prompt)!
        prompts.set(turn, prompt)
        states.get(replica.id)!.take(prompt)
        return replicas.indexOf(replica)
      },
      firstToken: (turn, engine) => byEngine[engine]!.read(prompts.get(turn)!),
      finished(turn, engine) {
        byEngine[engine]!.leave(prompts.get(turn)!)
        prompts.delete(turn)
      },
    }
  }
}

function promptOf({ messages }: Turn): Prompt {
  const ask = parseAsk(Buffer.from(`{"model":"mine","stream":true,"messages":${messages}]}`))
  return readPrompt(ask, {
    route: 'chat/completions',
    adapter: null,
    sessionId: null,
    contextTokens: 0,
    usualAnswerTokens: 256,
  })
}

/** In flight as a gateway counts it. */
class Load implements ReplicaState {
  ejected = false
  room = Number.POSITIVE_INFINITY
  inFlight = 0
  load = 0
  tokens = 0
  answered = 0

  take({ unread, answerTokens }: Prompt): void {
    this.inFlight += 1
    this.tokens += unread + answerTokens
  }

  read({ unread }: Prompt): void {
    this.tokens -= unread
  }

  leave({ answerTokens }: Prompt): void {
    this.inFlight -= 1
    this.answered += 1
    this.tokens -= answerTokens
  }
}

export const roundRobin: MakeRouter = (engines) => {
  let turns = 0
  return { send: () => turns++ % engines.length, firstToken() {}, finished() {} }
}

/** Fewest tokens in flight, which it knows exactly. */
export const leastLoad: MakeRouter = (engines) => {
  const loads = new ExactLoads(engines)
  return loads.router((turn) => loads.least(() => true, turn))
}

/** The bound of the product, kept by one that sees what is in every cache and how long every answer will be. */
export const clairvoyant: MakeRouter = (engines) => {
  const loads = new ExactLoads(engines)
  return loads.router((turn) => {
    const cached = engines.map((engine) => engine.cachedTokens(turn))
    const mine = turn.promptTokens + turn.answerTokens
    const average = (loads.tokens.reduce((sum, one) => sum + one, 0) + mine) / engines.length
    const limit = Math.max(average * bounds.factor, mine * bounds.floorRequests)
    const best = Math.max(...cached.filter((_, i) => loads.tokens[i]! <= limit))
    return loads.least((i) => loads.tokens[i]! <= limit && cached[i]! >= best, turn)
  })
}

class ExactLoads {
  readonly tokens: number[]
  readonly #engines: readonly SimulatedEngine[]

  constructor(engines: readonly SimulatedEngine[]) {
    this.#engines = engines
    this.tokens = engines.map(() => 0)
  }

  least(allowed: (engine: number) => boolean, _turn: Turn): number {
    let best = -1
    for (let i = 0; i < this.tokens.length; i++)
      if (allowed(i) && (best === -1 || this.tokens[i]! < this.tokens[best]!)) best = i
    return best
  }

  router(choose: (turn: Turn) => number): SimulatedRouter {
    const unread = new Map<Turn, number>()
    return {
      send: (turn) => {
        const engine = choose(turn)
        unread.set(turn, turn.promptTokens - this.#engines[engine]!.cachedTokens(turn))
        this.tokens[engine]! += unread.get(turn)! + turn.answerTokens
        return engine
      },
      firstToken: (turn, engine) => {
        this.tokens[engine]! -= unread.get(turn)!
        unread.delete(turn)
      },
      finished: (turn, engine) => {
        this.tokens[engine]! -= turn.answerTokens
      },
    }
  }
}
