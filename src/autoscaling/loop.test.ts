/** The autoscaler on the real database: what gateways report, what it makes of it, and what it leaves alone. */
import { strict as assert } from 'node:assert'
import { after, test } from 'node:test'
import { Access } from '../access/commands.ts'
import { report } from '../access/gateways.ts'
import { CalendarLoop } from '../deployments/calendar-loop.ts'
import { Deployments } from '../deployments/commands.ts'
import { days, type Override, type Schedule } from '../deployments/schedule.ts'
import { Schedules } from '../deployments/schedules.ts'
import { lockOrg } from '../deployments/store.ts'
import { testLimits } from '../deployments/testing/limits.ts'
import { availableEngines } from '../engines/registry.ts'
import { Secret } from '../kernel/secret.ts'
import { loadCatalogue, starterModelId } from '../models/catalogue.ts'
import { loadHardware } from '../models/hardware.ts'
import { type Clock, systemClock, until } from '../runtime/clock.ts'
import { silentLog } from '../runtime/log.ts'
import { Seal } from '../runtime/seal.ts'
import { packageRoot } from '../runtime/self.ts'
import { testDatabase } from '../store/testing.ts'
import { Scaling } from './commands.ts'
import { Autoscaler } from './loop.ts'
import { defaultDecideSettings } from './state.ts'

const db = await testDatabase()
after(() => db.close())
let now = Date.now()
const clock: Clock = { ...systemClock, now: () => now }
const seal = new Seal(new Secret('a secret of the test'))
const context = {
  db,
  clock,
  seal,
  log: silentLog,
  computes: new Map(),
  engines: availableEngines(),
  models: loadCatalogue({ allowPaths: [packageRoot], starterStandsIn: false }),
  hardware: loadHardware({}),
  ...testLimits,
  cooldownMinimumSeconds: 1,
  idleTimeoutMinimumSeconds: 1,
  wake: () => {},
  decideSettings: { ...defaultDecideSettings, lookEverySeconds: 1 },
}
const access = new Access(db, seal, clock)
await access.ensureOperator('sk_operator_of_the_test')
const operator = await access.authenticate('Bearer sk_operator_of_the_test', undefined)
const deployments = new Deployments(context)
const scaling = new Scaling(context)
let autoscaler = new Autoscaler(context)

const quiet = { held: 0, arrivals: 0, rejected: 0, lastAt: 0, ttftMsP90: null }
const gateway = (demand: Record<string, unknown>) =>
  report(db, { id: 'gw_a', keyringVersion: 1e9, routesVersion: 1e9, inFlight: {}, demand }, now)

/** `seconds` of time in which the gateway says the same. */
async function pass(seconds: number, demand: Record<string, unknown> = {}): Promise<void> {
  for (let i = 0; i < seconds; i += 1) {
    now += 1_000
    await gateway(demand)
    await autoscaler.tick()
  }
}

async function make(name: string, policy: object): Promise<string> {
  const { id } = await deployments.create(
    operator,
    { name, modelId: starterModelId, gpuType: 'cpu', scaling: policy },
    null,
  )
  // As the reconciler would write it.
  await db.run(`update deployments set phase = 'serving', ready_replicas = 1 where id = $1`, [id])
  return id
}
const desired = async (id: string) => (await scaling.get(operator, id)).desiredReplicas

test('quiet for the idle timeout: to zero; the first that is held wakes it; every change says why', async () => {
  const id = await make('sleeper', { scaleToZero: true, idleTimeoutSeconds: 5 })
  await pass(4)
  assert.equal(await desired(id), 1)
  await pass(4)
  assert.equal(await desired(id), 0)
  await pass(1, { [id]: { ...quiet, held: 1, lastAt: now } })
  assert.equal(await desired(id), 1)
  const { items } = await scaling.decisions(operator, id, { limit: 10 })
  assert.deepEqual(
    items.map((d) => [d.from, d.to, d.cause]),
    [
      [0, 1, 'request'],
      [1, 0, 'idle'],
    ],
  )
})

test('put to sleep by hand it stays asleep whatever its floor, also for the next process, until somebody asks', async () => {
  const id = await make('told', { autoscalingEnabled: false, minReplicas: 1 })
  await pass(2)
  await scaling.sleep(operator, id, null)
  await pass(5)
  assert.equal(await desired(id), 0)
  autoscaler = new Autoscaler(context)
  await pass(5)
  assert.equal(await desired(id), 0)
  await pass(1, { [id]: { ...quiet, held: 2, lastAt: now } })
  assert.equal(await desired(id), 1)
})

test('a silent gateway is no evidence: nobody is put to sleep for want of its report', async () => {
  const id = await make('unheard', { scaleToZero: true, idleTimeoutSeconds: 10 })
  await pass(1)
  for (let i = 0; i < 60; i += 1) {
    now += 1_000
    await autoscaler.tick()
  }
  assert.equal(await desired(id), 1)
})

test('a gateway that died for good keeps nobody waiting at the others', async () => {
  const id = await make('overheard', { scaleToZero: true, idleTimeoutSeconds: 5 })
  await pass(8)
  assert.equal(await desired(id), 0)
  await report(db, { id: 'gw_dead', keyringVersion: 1, routesVersion: 1, inFlight: {}, demand: {} }, now - 60_000)
  await pass(3)
  assert.equal(await desired(id), 0)
  await pass(1, { [id]: { ...quiet, held: 1, lastAt: now } })
  assert.equal(await desired(id), 1)
  await pass(30)
  assert.equal(await desired(id), 1, 'nothing is taken away while it is silent')
  await db.run(`delete from gateways where id = 'gw_dead'`)
  await pass(8)
  assert.equal(await desired(id), 0)
})

test('waiting requests add a replica after three looks', async () => {
  const id = await make('busy', { minReplicas: 1, maxReplicas: 4, cooldownSeconds: 100 })
  await pass(5, { [id]: { ...quiet, held: 50, lastAt: now } })
  assert.ok((await desired(id)) >= 2)
})

test('inactive for its minutes it is stopped, and no request wakes it', async () => {
  const id = await make('forgotten', { inactiveTimeoutMinutes: 1 })
  await pass(62)
  assert.equal((await deployments.get(operator, id)).desired, 'stopped')
})

const calendar = new CalendarLoop(context)
/** A window of every day that is open from now on for so many minutes. */
function windowNow(minutes: number, override: Override): Schedule {
  const text = (ms: number) => new Date(ms).toISOString().slice(11, 16)
  const from = now - 60_000
  return {
    windows: [{ days: [...days], from: text(from), to: text(now + minutes * 60_000), timezone: 'UTC', ...override }],
  }
}
const schedules = new Schedules(context)
async function setWindow(id: string, minutes: number, override: Override): Promise<void> {
  const [window] = windowNow(minutes, override).windows
  const { min, max, ...same } = window as { min?: number; max?: number; action: Override['action'] }
  const range = min === undefined ? {} : { minReplicas: min, maxReplicas: max }
  await schedules.put(operator, id, { windows: [{ ...same, ...range }] })
}

test('a window of the schedule takes the place of the limits while it is open; every change says whose it is', async () => {
  const id = await make('office', { minReplicas: 1, maxReplicas: 2 })
  await pass(2)
  await setWindow(id, 5, { action: 'scale', min: 3, max: 5 })
  await pass(1)
  assert.equal(await desired(id), 3)
  await scaling.change(operator, id, { maxReplicas: 4 })
  assert.equal(await desired(id), 3, 'another limit counts when the window is over')
  await scaling.sleep(operator, id, null)
  await pass(3)
  assert.equal(await desired(id), 0, 'put to sleep within the window it sleeps')
  await scaling.wake(operator, id, null)
  assert.equal(await desired(id), 3, 'and wakes to the floor of the window')
  await pass(2)
  now += 6 * 60_000
  await calendar.tick()
  await pass(2)
  assert.equal(await desired(id), 3, 'within the limits of the policy again: nothing has to go at once')
  await scaling.change(operator, id, { maxReplicas: 2 })
  const { items } = await scaling.decisions(operator, id, { limit: 10 })
  assert.deepEqual(
    items.map((d) => [d.from, d.to, d.cause]),
    [
      [3, 2, 'limits'],
      [0, 3, 'wake'],
      [3, 0, 'sleep'],
      [1, 3, 'schedule'],
    ],
  )
  assert.match(items.at(-1)!.why, /its schedule’s floor is 3/)
})

test('a sleep window: to sleep once nobody asks, awake for a request, back to its floor at the end', async () => {
  const id = await make('siesta', { minReplicas: 2, maxReplicas: 3 })
  const busy = { [id]: { ...quiet, held: 0, arrivals: 1, lastAt: now } }
  await pass(2, busy)
  await setWindow(id, 5, { action: 'sleep' })
  await pass(2)
  assert.equal(await desired(id), 0)
  await pass(1, { [id]: { ...quiet, held: 1, arrivals: 2, lastAt: now } })
  assert.equal(await desired(id), 2)
  await pass(2, { [id]: { ...quiet, arrivals: 2, lastAt: now } })
  now += 6 * 60_000
  await calendar.tick()
  await pass(2, { [id]: { ...quiet, arrivals: 2, lastAt: now } })
  assert.equal(await desired(id), 2)
  const causes = (await scaling.decisions(operator, id, { limit: 10 })).items.map((d) => d.cause)
  assert.deepEqual(causes, ['request', 'schedule'])
})

test('inactive for its minutes while asleep it is stopped as well; a timeout that was taken away stops nothing', async () => {
  const asleep = await make('dozing', { inactiveTimeoutMinutes: 2, scaleToZero: true, idleTimeoutSeconds: 5 })
  await pass(20)
  assert.equal(await desired(asleep), 0)
  await pass(105)
  const stopped = await deployments.get(operator, asleep)
  assert.deepEqual(
    [stopped.desired, stopped.reason?.message],
    ['stopped', 'It is being stopped: nobody asked for its inactive timeout.'],
  )
  const kept = await make('kept', { inactiveTimeoutMinutes: 1 })
  await pass(50)
  await scaling.change(operator, kept, { inactiveTimeoutMinutes: 0 })
  await pass(30)
  assert.equal((await deployments.get(operator, kept)).desired, 'running')
})

test('five hundred held for one that sleeps: one start until it answers, whatever the policy and the ceiling', async () => {
  for (const policy of ['target', 'slo', 'steps']) {
    const id = await make(`burst-${policy}`, { policy, maxReplicas: 8, scaleToZero: true, idleTimeoutSeconds: 5 })
    await pass(9)
    assert.equal(await desired(id), 0)
    await db.run('update deployments set ready_replicas = 0 where id = $1', [id])
    await pass(20, { [id]: { ...quiet, held: 500, arrivals: 500, lastAt: now, ttftMsP90: 60_000 } })
    const { items } = await scaling.decisions(operator, id, { limit: 10 })
    assert.deepEqual(
      items.map((one) => [one.from, one.to, one.cause]),
      [
        [0, 1, 'request'],
        [1, 0, 'idle'],
      ],
    )
  }
})

test('it waits for the quota before it takes a row, as people’s changes do: neither waits for the other', async () => {
  const id = await make('both', { scaleToZero: true, idleTimeoutSeconds: 5 })
  await pass(9)
  assert.equal(await desired(id), 0)
  now += 1_000
  await gateway({ [id]: { ...quiet, held: 1, lastAt: now } })
  let ticking: Promise<void> = Promise.resolve()
  await db.tx(async (tx) => {
    await lockOrg(tx, operator.orgId)
    ticking = autoscaler.tick()
    await until(systemClock, 'the autoscaler waits', 10_000, async () => {
      return (await db.query('select 1 from pg_locks where not granted', [])).length > 0
    })
    // Refused at once if the autoscaler had it.
    await tx.query('select 1 from deployments where id = $1 for update nowait', [id])
  })
  await ticking
  assert.equal(await desired(id), 1)
})
