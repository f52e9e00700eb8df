/**
 * Routing of one gateway: what it remembers of each deployment with several replicas, and the decision for one request.
 * Nothing here waits, and nothing grows without a limit. What was sent where is remembered in memory that the workers of
 * a host share, so that a conversation is found whichever of them its next turn comes to.
 */
import type { Route, RouteReplica } from '../../deployments/routes.ts'
import type { StateOf } from '../pick.ts'
import { type Bounds, bounds, type Candidate, choose } from './choose.ts'
import { mixed, textHash } from './hash.ts'
import { blockTokens, type Prompt } from './prompt.ts'
import { makeRecentMemory, RecentHashes } from './recent.ts'
import { Ring } from './ring.ts'

/** Blocks of prompts, and sessions, remembered in all: of 64 million tokens, in 8 MiB. */
export const rememberedDefault = 1024 * 1024
/** Deployments whose ring is kept; a ring is quickly made again. */
const deploymentsMaximum = 4_096
/** A replica that has answered nothing yet gets this many at once, and for each answer as many more. */
const warmingRequests = 4

/** A replica as the decision sees it. */
class Member implements Candidate {
  readonly replica: RouteReplica
  readonly weight: number
  /** Makes its blocks differ from others' in the common memory. */
  readonly salt: number
  usable = false
  tokens = 0
  matched = 0
  bound = false
  warming = false

  constructor(replica: RouteReplica) {
    this.replica = replica
    this.weight = replica.weight
    this.salt = textHash(replica.id)
  }
}

interface Known {
  /** The list from which the rest was made. */
  replicas: readonly RouteReplica[]
  /** Those of them that get traffic, in the order of the ring. */
  members: Member[]
  ring: Ring
}

export class Router {
  readonly #recent: RecentHashes
  readonly #bounds: Bounds
  readonly #known = new Map<string, Known>()
  #turn = 0

  constructor(memory = makeRecentMemory(rememberedDefault), by = bounds) {
    this.#recent = new RecentHashes(memory)
    this.#bounds = by
  }

  /**
   * The replica that is to have this request, which is remembered as sent there; null when none can. `tried` were asked
   * already and are left out. Writes into `prompt` how much of it is left to read.
   */
  pick(
    route: Pick<Route, 'deploymentId' | 'replicas'>,
    stateOf: StateOf,
    tried: ReadonlySet<string> | null,
    prompt: Prompt,
  ): RouteReplica | null {
    const { members, ring } = this.#of(route)
    this.#look(members, stateOf, tried, prompt)
    this.#turn = (this.#turn + 1) % 0x3fffffff
    const chosen = choose(members, prompt, ring, this.#turn, this.#bounds)
    if (chosen === -1) return null
    this.#remember(members, chosen, prompt)
    prompt.unread = Math.max(1, prompt.tokens - members[chosen]!.matched * blockTokens)
    return members[chosen]!.replica
  }

  #look(members: Member[], stateOf: StateOf, tried: ReadonlySet<string> | null, prompt: Prompt): void {
    let warm = 0
    for (const one of members) {
      const { ejected, inFlight, room, tokens, answered } = stateOf(one.replica)
      one.usable = !ejected && inFlight < room && !tried?.has(one.replica.id)
      one.tokens = tokens
      one.warming = inFlight >= warmingRequests * (1 + answered)
      if (!one.usable) continue
      if (!one.warming) warm += 1
      one.bound = prompt.session !== 0 && this.#recent.has(sessionKey(prompt.session, one))
      one.matched = this.#matched(one, prompt.blocks)
    }
    // Where all begin, none is to be spared.
    if (warm === 0) for (const one of members) one.warming = false
  }

  #matched({ salt }: Member, blocks: Int32Array): number {
    let count = 0
    while (count < blocks.length && this.#recent.has(blocks[count]! ^ salt)) count += 1
    return count
  }

  /** Where it went is where the next like it is to go. */
  #remember(members: readonly Member[], chosen: number, { session, blocks }: Prompt): void {
    const one = members[chosen]!
    this.#recent.tick()
    for (let i = 0; i < blocks.length; i++) this.#recent.add(blocks[i]! ^ one.salt)
    if (session === 0) return
    for (const other of members) if (other !== one && other.bound) this.#recent.remove(sessionKey(session, other))
    this.#recent.add(sessionKey(session, one))
  }

  #of({ deploymentId, replicas }: Pick<Route, 'deploymentId' | 'replicas'>): Known {
    const known = this.#known.get(deploymentId)
    return known?.replicas === replicas ? known : this.#made(deploymentId, replicas, known)
  }

  #made(deploymentId: string, replicas: readonly RouteReplica[], before: Known | undefined): Known {
    const traffic = replicas.filter(({ state, weight }) => state === 'ready' && weight > 0)
    const members = traffic.sort((a, b) => (a.id < b.id ? -1 : 1)).map((replica) => new Member(replica))
    const ring = before !== undefined && isSame(before.members, members) ? before.ring : ringOf(members)
    const known = { replicas, members, ring }
    this.#known.set(deploymentId, known)
    if (this.#known.size > deploymentsMaximum) this.#known.delete(this.#known.keys().next().value!)
    return known
  }
}

function isSame(before: readonly Member[], now: readonly Member[]): boolean {
  if (before.length !== now.length) return false
  return now.every(({ salt, weight }, i) => before[i]!.salt === salt && before[i]!.weight === weight)
}

function ringOf(members: readonly Member[]): Ring {
  return new Ring(members.map(({ replica }) => replica))
}

function sessionKey(session: number, { salt }: Member): number {
  return mixed(session + salt)
}
