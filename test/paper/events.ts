/** What may happen in the paper world. */
import { turnWindow, wish } from './people.ts'
import type { World } from './world.ts'

/** How often, relative to each other. */
const weights = {
  turn: 40,
  beat: 30,
  line: 10,
  boot: 14,
  ask: 8,
  answer: 6,
  wish: 4,
  window: 0.6,
  crash: 2,
  late: 2,
  sweep: 4,
  burst: 1,
  hang: 0.7,
  heal: 0.7,
  capacity: 1,
  provider: 0.6,
  forget: 0.4,
  stray: 0.3,
  control: 0.5,
  autoscaler: 0.4,
  gateway: 0.2,
  lost: 0.02,
  cut: 0.5,
  stall: 0.15,
  jump: 0.2,
}
type EventName = keyof typeof weights

const events: Record<EventName, (world: World) => string> = {
  turn: takeTurn,
  beat,
  line: nextLine,
  wish,
  window: (world) => {
    const deployment = world.random.pick(world.alive())
    if (deployment) turnWindow(world, deployment)
    return `${deployment?.id} ${deployment?.window?.action}`
  },
  boot: (world) => {
    const machine = someMachine(world)
    if (machine?.state === 'booting' && !world.isBad(machine.id)) world.provider.boot(machine, world.now)
    return machine?.id ?? ''
  },
  ask: (world) => ask(world, world.random.int(1, 2)),
  burst: (world) => ask(world, world.random.int(5, 40)),
  answer: (world) => {
    for (const gateway of world.gateways) gateway.finish(0.5)
    return ''
  },
  crash: (world) => {
    const machine = someMachine(world)
    if (machine) world.provider.kill(machine, world.now)
    return machine?.id ?? ''
  },
  hang: (world) => {
    const machine = someMachine(world)
    if (machine) machine.answers = false
    return machine?.id ?? ''
  },
  heal: (world) => {
    const machine = someMachine(world)
    if (machine?.state === 'up') machine.answers = true
    return machine?.id ?? ''
  },
  forget: (world) => {
    const machine = someMachine(world)
    if (machine) world.provider.forget(machine, world.now)
    return machine?.id ?? ''
  },
  stray: (world) => {
    const id = world.tables.id('rep')
    world.provider.addStray(id, world.now)
    return id
  },
  late: ({ provider, random }) => {
    const at = random.int(0, provider.pending.length - 1)
    provider.pending.splice(at, 1)[0]?.()
    return `${provider.pending.length} left`
  },
  sweep: (world) => world.sweep(),
  capacity: ({ provider, random }) => {
    provider.totalUnits = random.int(0, 10)
    return `${provider.totalUnits}`
  },
  provider: ({ provider, random }) => {
    provider.up = !provider.up || random.chance(0.5)
    return provider.up ? 'up' : 'away'
  },
  control: (world) => world.restartControl(),
  autoscaler: ({ autoscaler }) => {
    autoscaler.restart()
    return ''
  },
  gateway: (world) => world.restartGateway(),
  lost: (world) => world.loseGateway(),
  cut: ({ gateways, random }) => {
    const gateway = random.pick(gateways)!
    gateway.cutOff = !gateway.cutOff && random.chance(0.5)
    return `${gateway.id} ${gateway.cutOff}`
  },
  // Longer than a claim lasts: whoever sleeps through it has lost it.
  stall: (world) => moveClock(world, 95_000),
  jump: (world) => {
    for (const row of world.tables.live.values()) row.clockMoved = true
    return moveClock(world, world.random.int(-20_000, 3_600_000))
  },
}

/** One random event, with its line for the trace. */
export function step(world: World): void {
  const name = world.random.weighted(weights)
  const line = [`t=${world.now}`, name]
  world.trace.push(line)
  line.push(events[name](world))
}

/** A claim, a look, and mostly all the lines that follow; else it stops at one of them, for a while or for ever. */
function takeTurn(world: World): string {
  const { tables, random, now } = world
  const due = tables.deployments.filter(({ nextAt, lease }) =>
    lease === null ? nextAt !== null && nextAt <= now : lease.until <= now,
  )
  const deployment = random.pick(due)
  const turn = deployment && world.beginTurn(deployment)
  if (!turn) return ''
  if (random.chance(0.8)) turn.finish()
  else for (let lines = random.int(0, 2); lines > 0; lines -= 1) turn.step()
  world.endTurns()
  return `${deployment.id} ${turn.stage}`
}

/** A turn that stood still goes on by a line. */
function nextLine(world: World): string {
  const turn = world.random.pick(world.turns)
  turn?.step()
  world.endTurns()
  return turn ? `${turn.deployment.id} ${turn.stage}` : ''
}

/** A second or so: what is done every second is done, mostly. */
export function beat(world: World): string {
  const { random, gateways, autoscaler } = world
  world.now += random.int(100, 1_500)
  if (!world.provider.up) world.provider.up = random.chance(0.15)
  for (const gateway of gateways) if (random.chance(0.1)) gateway.cutOff = false
  world.wearOut()
  for (const watcher of world.watchers.values()) if (random.chance(0.9)) watcher.look()
  for (const gateway of gateways) {
    gateway.pass()
    gateway.finish(0.3)
    if (random.chance(0.9)) gateway.look()
    if (random.chance(0.9)) gateway.say()
  }
  if (random.chance(0.9)) autoscaler.look()
  if (random.chance(0.05)) wish(world)
  if (random.chance(0.9)) autoscaler.write()
  return ''
}

function ask(world: World, count: number): string {
  const { random, gateways, tables } = world
  const gateway = random.pick(gateways)!
  const deployment = random.pick(random.chance(0.02) ? tables.deployments : world.alive())
  for (let i = 0; i < count && deployment; i += 1) gateway.arrive(deployment.id)
  return `${count} of ${deployment?.id} at ${gateway.id}`
}

function moveClock(world: World, ms: number): string {
  world.now += ms
  return `${ms} ms`
}

function someMachine({ random, provider }: World) {
  return random.pick([...provider.machines.values()].filter(({ state }) => state !== 'dead'))
}
