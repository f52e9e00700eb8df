import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RouteReplica } from '../../deployments/routes.ts'
import { parseAsk } from '../parse.ts'
import type { ReplicaState } from '../pick.ts'
import { replicaOf } from '../testing.ts'
import { type Prompt, readPrompt } from './prompt.ts'
import { makeRecentMemory } from './recent.ts'
import { Router } from './router.ts'

/** Replicas with what is in flight on them, and a gateway that sends to them. */
class World {
  readonly states = new Map<string, ReplicaState>()
  replicas: RouteReplica[]

  constructor(count: number, over: (i: number) => Partial<RouteReplica> = () => ({})) {
    this.replicas = Array.from({ length: count }, (_, i) => replicaOf(8000 + i, { id: `rep_${i}`, ...over(i) }))
  }

  state(id: string): ReplicaState {
    const calm = { inFlight: 0, load: 0, tokens: 0, answered: 9, ejected: false, room: Number.POSITIVE_INFINITY }
    if (!this.states.has(id)) this.states.set(id, calm)
    return this.states.get(id)!
  }

  pick(router: Router, prompt: Prompt, tried: ReadonlySet<string> | null = null): string {
    const route = { deploymentId: 'dep_1', replicas: this.replicas }
    return router.pick(route, ({ id }) => this.state(id), tried, prompt)?.id ?? 'none'
  }
}

const long = (seed: string) => Array.from({ length: 400 }, (_, i) => `${seed}${i}`).join(' ')
type Said = { role: string; content: unknown }
const system: Said = { role: 'system', content: long('rule') }

function prompt(messages: Said[], over: { fields?: object; sessionId?: string; adapter?: string } = {}): Prompt {
  const ask = parseAsk(Buffer.from(JSON.stringify({ model: 'm', messages, ...over.fields })))
  const { adapter = null, sessionId = null } = over
  return readPrompt(ask, { route: 'chat/completions', adapter, sessionId, contextTokens: 0, usualAnswerTokens: 256 })
}

function talk(name: string, turns: number): Said[] {
  const said: Said[] = [system, { role: 'user', content: long(`${name} asks`) }]
  for (let turn = 1; turn < turns; turn++)
    said.push({ role: 'assistant', content: long(`${name} hears ${turn}`) }, { role: 'user', content: `and ${turn}?` })
  return said
}
const names = Array.from({ length: 60 }, (_, i) => `person ${i}`)
const small = () => new Router(makeRecentMemory(65_536))

test('a conversation goes back to the replica that has read it, also when it did not begin where the ring says', () => {
  const world = new World(8)
  const router = small()
  for (const name of names) {
    const first = world.pick(router, prompt(talk(name, 1)))
    world.state(first).ejected = true
    const second = world.pick(router, prompt(talk(name, 2)))
    world.state(first).ejected = false
    assert.notEqual(second, first)
    assert.equal(world.pick(router, prompt(talk(name, 3))), second)
    assert.equal(world.pick(router, prompt(talk(name, 4))), second)
  }
})

test('workers of one host share what they remember', () => {
  const world = new World(8)
  const memory = makeRecentMemory(65_536)
  const [one, other] = [new Router(memory), new Router(memory)]
  world.state('rep_0').ejected = true
  const displaced = names.filter((name) => {
    const first = world.pick(one, prompt(talk(name, 1)))
    return first !== world.pick(small(), prompt(talk(name, 1)))
  })
  const before = displaced.map((name) => world.pick(one, prompt(talk(name, 2))))
  world.state('rep_0').ejected = false
  assert.deepEqual(
    displaced.map((name) => world.pick(other, prompt(talk(name, 3)))),
    before,
  )
})

test('gateways that know nothing of each other agree on a conversation, whoever is asked, and spread what is cold', () => {
  const world = new World(8)
  const places = names.map((name) => {
    const fresh = Array.from({ length: 3 }, (_, turn) => world.pick(small(), prompt(talk(name, turn + 1))))
    assert.equal(new Set(fresh).size, 1, `${fresh}`)
    return fresh[0]!
  })
  assert.ok(new Set(places).size >= 7, `60 conversations are with ${new Set(places).size} of 8 replicas`)
})

test('what fills a replica over the bound goes elsewhere, the least loaded at last', () => {
  const world = new World(4)
  const router = small()
  const home = world.pick(router, prompt(talk('ada', 1)))
  const others = world.replicas.map(({ id }) => id).filter((id) => id !== home)
  const mine = prompt(talk('ada', 2))
  for (const { id } of world.replicas) world.state(id).tokens = 50_000
  world.state(home).tokens = 62_000
  assert.equal(world.pick(router, mine), home, 'within 1.25 of the average')
  world.state(home).tokens = 80_000
  const elsewhere = world.pick(small(), mine)
  assert.ok(others.includes(elsewhere))
  // The bound is of all; where some are small in number the floor keeps it together.
  for (const { id } of world.replicas) world.state(id).tokens = 0
  world.state(home).tokens = 3 * (mine.tokens + mine.answerTokens)
  assert.equal(world.pick(router, mine), home, 'three like it are no load')
  for (const id of others) world.state(id).room = 0
  world.state(home).tokens = 1e6
  assert.equal(world.pick(router, mine), home, 'nobody else has room')
})

test('what a replica saves counts when it is a good part of the prompt', () => {
  const world = new World(8)
  const router = small()
  const home = world.pick(router, prompt([system, { role: 'user', content: 'one' }]))
  // The same system prompt and little else: its replica saves nearly all of it.
  assert.equal(world.pick(router, prompt([system, { role: 'user', content: 'two' }])), home)
  const cold = names.map((name) => world.pick(small(), prompt([{ role: 'user', content: long(name) }])))
  const warm = names.map((name) => world.pick(router, prompt([{ role: 'user', content: long(name) }])))
  assert.deepEqual(warm, cold, 'what saves nothing stays where the ring puts it')
})

test('sessions: the header before the key before the user; kept until the replica is saturated, then moved for good', () => {
  const world = new World(8)
  const router = small()
  const ask = (n: number, fields: object, sessionId?: string) =>
    world.pick(router, prompt([{ role: 'user', content: long(`${n}`) }], { fields, sessionId }))
  const home = ask(0, { user: 'ada' })
  for (let n = 1; n < 20; n++) assert.equal(ask(n, { user: 'ada' }), home)
  const keyed = new Set(names.map((name, n) => ask(n, { user: 'ada', prompt_cache_key: name })))
  assert.ok(keyed.size > 4)
  const [first] = names.map((name, n) => ask(n, { user: 'ada', prompt_cache_key: name }, 'one session'))
  for (const [n, name] of names.entries()) assert.equal(ask(n, { prompt_cache_key: name }, 'one session'), first)
  for (const { id } of world.replicas) world.state(id).tokens = 10_000
  world.state(home).tokens = 15_000
  assert.equal(ask(21, { user: 'ada' }), home, 'under 1.5 of the average')
  world.state(home).tokens = 60_000
  const next = ask(22, { user: 'ada' })
  assert.notEqual(next, home)
  world.state(home).tokens = 0
  assert.equal(ask(23, { user: 'ada' }), next, 'it does not go back and forth')
})

test('one session that is all of the traffic is served by both of two replicas', () => {
  const world = new World(2)
  const router = small()
  const counts: Record<string, number> = { rep_0: 0, rep_1: 0 }
  const underway: [string, number][] = []
  for (let n = 0; n < 400; n++) {
    const one = prompt([{ role: 'user', content: long(`${n}`) }], { fields: { user: 'everybody' } })
    const id = world.pick(router, one)
    counts[id]! += 1
    underway.push([id, one.tokens])
    world.state(id).tokens += one.tokens
    if (underway.length < 40) continue
    const [first, tokens] = underway.shift()!
    world.state(first).tokens -= tokens
  }
  assert.ok(Math.min(...Object.values(counts)) > 80, JSON.stringify(counts))
})

test('draining, ejected, full and tried replicas, and those without traffic, get nothing', () => {
  const world = new World(6)
  const router = small()
  const ask = (n: number, tried: ReadonlySet<string> | null = null) =>
    world.pick(router, prompt(talk(names[n]!, 1)), tried)
  world.replicas[0]!.state = 'draining'
  world.replicas[1]!.weight = 0
  world.state('rep_2').ejected = true
  world.state('rep_3').room = 0
  for (let n = 0; n < 40; n++) assert.equal(ask(n, new Set(['rep_4'])), 'rep_5')
  assert.equal(ask(41, new Set(['rep_4', 'rep_5'])), 'none')
})

test('one that drained for a moment is remembered when it is back', () => {
  const world = new World(3)
  const router = small()
  const home = world.pick(router, prompt(talk('ada', 1)))
  const all = world.replicas
  world.replicas = all.map((one) => (one.id === home ? { ...one, state: 'draining' } : one))
  assert.notEqual(world.pick(router, prompt(talk('eve', 1))), home)
  world.replicas = [...all]
  assert.equal(world.pick(router, prompt(talk('ada', 2))), home)
})

test('a replica that has answered nothing yet begins with few requests', () => {
  const world = new World(2)
  const router = small()
  Object.assign(world.state('rep_1'), { answered: 0, inFlight: 4, load: 4 })
  world.state('rep_0').tokens = 900_000
  for (const name of names) assert.equal(world.pick(router, prompt(talk(name, 1))), 'rep_0')
  world.state('rep_1').answered = 1
  assert.equal(world.pick(router, prompt(talk('ada', 1))), 'rep_1')
  // Where all begin, none waits for another.
  Object.assign(world.state('rep_0'), { answered: 0, inFlight: 50, tokens: 50 })
  Object.assign(world.state('rep_1'), { answered: 0, inFlight: 50, tokens: 50 })
  const ask = (name: string) => world.pick(router, prompt([{ role: 'user', content: name }]))
  assert.equal(new Set(names.map(ask)).size, 2)
})

test('traffic is shared by weight, with and without prompts', () => {
  const world = new World(2, (i) => ({ weight: i === 0 ? 10 : 90 }))
  const router = small()
  const count = (ask: (n: number) => Prompt) =>
    Array.from({ length: 1_000 }, (_, n) => world.pick(router, ask(n))).filter((id) => id === 'rep_0').length
  const cold = count((n) => prompt([{ role: 'user', content: `question ${n}` }]))
  const bare = count(() => prompt([]))
  for (const got of [cold, bare]) assert.ok(got > 40 && got < 180, `${got} of 1000 at weight 10 of 100`)
  // Under load too: it has had its share when it holds a ninth of what the other does.
  Object.assign(world.state('rep_0'), { tokens: 20_000 })
  Object.assign(world.state('rep_1'), { tokens: 90_000 })
  assert.equal(
    count((n) => prompt([{ role: 'user', content: `question ${n}` }])),
    0,
  )
})

test('equal requests without a prompt take turns; the one with less in flight comes first', () => {
  const world = new World(3)
  const router = small()
  assert.equal(new Set([1, 2, 3].map(() => world.pick(router, prompt([])))).size, 3)
  for (const [i, { id }] of world.replicas.entries()) world.state(id).tokens = 100 - i
  assert.equal(world.pick(router, prompt([])), 'rep_2')
})

test('adapters do not share what is computed', () => {
  const [base, one, other] = [undefined, 'one', 'other'].map((adapter) => prompt(talk('ada', 1), { adapter }))
  for (const [a, b] of [
    [base, one],
    [one, other],
  ]) {
    assert.notEqual(a!.beginning, b!.beginning)
    assert.ok(a!.blocks.every((block, i) => block !== b!.blocks[i]))
  }
})
