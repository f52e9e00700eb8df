import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Drive, startAt } from './drive.fixture.ts'
import { replicasFor } from './look.ts'
import { askToSleep, wake } from './state.ts'

const desiredOf = (drive: Drive) => drive.changes.map(({ desired }) => desired)

test('off: exactly that many, whatever the load', () => {
  const drive = new Drive({ autoscalingEnabled: false, minReplicas: 3, maxReplicas: 3 }, 1)
  const decision = drive.report({ held: 100 })
  assert.deepEqual([decision.desired, decision.cause], [3, 'limits'])
  assert.equal(drive.run(1000, { held: 100 }).desired, 3)
  assert.equal(drive.run(1000).desired, 3)
})

test('floor and ceiling count at once, between looks and without reports', () => {
  const drive = new Drive({ minReplicas: 2 }, 1)
  assert.equal(drive.decide().desired, 2)
  drive.policy = { ...drive.policy, minReplicas: 5 }
  assert.equal(drive.decide().desired, 5)
  drive.policy = { ...drive.policy, minReplicas: 1, maxReplicas: 3 }
  const decision = drive.decide()
  assert.deepEqual([decision.desired, decision.cause], [3, 'limits'])
  assert.match(decision.why, /ceiling is 3/)
})

test('it sleeps after the idle timeout and not before, whatever the cooldown and the number', () => {
  const drive = new Drive({ minReplicas: 0, idleTimeoutSeconds: 60, cooldownSeconds: 900 }, 4)
  assert.equal(drive.run(20, { inFlight: 2 }).holdUntil, null)
  const quiet = drive.run(40)
  assert.equal(quiet.desired, 4)
  assert.equal(quiet.holdUntil, startAt + 18_000 + 60_000)
  drive.run(30)
  assert.deepEqual(drive.changes, [{ seconds: 78, desired: 0, cause: 'idle' }])
})

test('scale_to_zero with a floor: the floor is for while it is awake', () => {
  const drive = new Drive({ minReplicas: 2, scaleToZero: true, idleTimeoutSeconds: 60 }, 2)
  drive.run(70)
  assert.equal(drive.state.desired, 0)
  assert.equal(drive.run(600).desired, 0)
  const decision = drive.report({ held: 1 })
  assert.deepEqual([decision.desired, decision.cause], [2, 'wake'])
})

test('without leave to sleep it never does', () => {
  const drive = new Drive({ minReplicas: 1, idleTimeoutSeconds: 60 }, 1)
  assert.equal(drive.run(3000).desired, 1)
})

test('what arrives at zero wakes it, held, rejected, or answered elsewhere', () => {
  for (const load of [{ held: 1 }, { rejected: 1 }, { inFlight: 1 }, { arrivals: 1 }]) {
    const drive = new Drive({ minReplicas: 0, idleTimeoutSeconds: 60 }, 1)
    drive.run(80)
    assert.equal(drive.state.desired, 0)
    assert.equal(drive.report(load).desired, 1, JSON.stringify(load))
  }
})

test('a request in a report that came late still wakes it', () => {
  const drive = new Drive({ minReplicas: 0, idleTimeoutSeconds: 60 }, 1)
  drive.run(80)
  drive.report({ held: 1 })
  const asleep = new Drive({ minReplicas: 0 }, 0)
  asleep.window = drive.window
  asleep.now = drive.now + 3_600_000
  assert.equal(asleep.decide().desired, 1)
})

test('it does not fall asleep before it has answered once, nor by quiet time from before it woke', () => {
  const drive = new Drive({ minReplicas: 0, idleTimeoutSeconds: 60 }, 1)
  assert.equal(drive.run(600, { ready: 0, pending: 1 }).desired, 1)
  assert.equal(drive.run(58, { ready: 1 }).desired, 1)
  assert.equal(drive.run(6, { ready: 1 }).desired, 0)
  drive.state = wake(drive.state, 1, drive.now)
  assert.equal(drive.run(58, { ready: 1 }).desired, 1)
  assert.equal(drive.run(6, { ready: 1 }).desired, 0)
})

test('told to sleep: once nobody asks, below the floor too, until somebody asks', () => {
  const drive = new Drive({ minReplicas: 2 }, 2)
  drive.state = askToSleep(drive.state)
  assert.equal(drive.run(20, { inFlight: 1 }).desired, 2)
  assert.equal(drive.report().desired, 0)
  drive.now += 2000
  assert.equal(drive.run(600).desired, 0)
  assert.equal(drive.report({ held: 3 }).desired, 2)
  drive.now += 2000
  assert.equal(drive.run(600).desired, 2)
})

test('told to sleep while somebody is served: what is in flight ends and wakes nothing; whoever waits does', () => {
  const drive = new Drive({ minReplicas: 2 }, 0)
  drive.state = askToSleep(drive.state)
  assert.equal(drive.run(30, { inFlight: 1 }).desired, 0)
  assert.equal(drive.run(10, { arrivals: 1 }).desired, 0)
  assert.equal(drive.report({ held: 1 }).desired, 2)
})

test('a silent gateway takes nothing away, and those that speak get what they need', () => {
  const partial = { partial: true }
  const asleep = new Drive({ minReplicas: 0, idleTimeoutSeconds: 60 }, 0)
  assert.equal(asleep.run(10, partial).desired, 0)
  assert.deepEqual([asleep.report({ ...partial, held: 1 }).desired, asleep.changes.at(-1)?.cause], [1, 'wake'])
  for (const policy of ['steps', 'target', 'slo'] as const) {
    const drive = new Drive({ policy, minReplicas: 0, idleTimeoutSeconds: 60, cooldownSeconds: 121 }, 3)
    assert.equal(drive.run(2000, partial).desired, 3, policy)
    assert.deepEqual([drive.state.looksDown, drive.state.calmSince], [0, null])
    assert.ok(drive.run(100, { ...partial, inFlight: 30, held: 30 }).desired > 3, policy)
    // Quiet time begins with the last that was not known to be quiet.
    assert.equal(drive.report().holdUntil, drive.now - 2000 + 60_000)
  }
})

test('without fresh reports nobody is put to sleep and nothing goes down', () => {
  const drive = new Drive({ minReplicas: 0, idleTimeoutSeconds: 60 }, 3)
  drive.run(10)
  for (let second = 0; second < 3600; second += 2) {
    drive.now += 2000
    const decision = drive.decide()
    assert.equal(decision.desired, 3)
    if (second > 10) assert.equal(decision.cause, 'no-reports')
  }
  // The time without reports was not quiet time either.
  assert.equal(drive.run(50).desired, 3)
})

test('a jump of the clock puts nobody to sleep and takes nothing away', () => {
  for (const jump of [86_400_000, -86_400_000]) {
    const drive = new Drive({ minReplicas: 0, idleTimeoutSeconds: 60 }, 3)
    drive.run(40)
    drive.now += jump
    assert.equal(drive.run(40).desired, 3, `${jump}`)
    assert.equal(drive.run(40).desired, 0, `${jump}`)
  }
})

test('the schedule: limits at once, sleep once quiet, and a request wakes it', () => {
  const drive = new Drive({ minReplicas: 1, maxReplicas: 4 }, 1)
  drive.override = { action: 'scale', min: 6, max: 8 }
  assert.deepEqual([drive.report().desired, drive.changes.at(-1)?.cause], [6, 'schedule'])
  drive.override = null
  assert.deepEqual([drive.report().desired, drive.changes.at(-1)?.cause], [4, 'schedule'])
  drive.override = { action: 'sleep' }
  assert.equal(drive.report({ inFlight: 1 }).desired, 4)
  assert.deepEqual([drive.report().desired, drive.changes.at(-1)?.cause], [0, 'schedule'])
  drive.now += 2000
  assert.deepEqual([drive.report({ held: 1 }).desired, drive.changes.at(-1)?.cause], [1, 'wake'])
})

test('a window of the schedule with a floor keeps it awake; a sleep window ends in the floor', () => {
  const drive = new Drive({ minReplicas: 0, idleTimeoutSeconds: 60 }, 1)
  drive.override = { action: 'scale', min: 1, max: 2 }
  assert.equal(drive.run(600).desired, 1)
  const fixed = new Drive({ autoscalingEnabled: false, minReplicas: 2, maxReplicas: 2 }, 2)
  fixed.override = { action: 'sleep' }
  assert.equal(fixed.report().desired, 0)
  fixed.override = null
  assert.equal(fixed.report().desired, 2)
})

test('steps: three looks with a queue add one; never more than one', () => {
  const drive = new Drive({})
  drive.run(300, () => ({ inFlight: 10 * drive.state.desired, held: 50 }))
  assert.deepEqual(drive.changes.slice(0, 3), [
    { seconds: 60, desired: 2, cause: 'load' },
    { seconds: 150, desired: 3, cause: 'load' },
    { seconds: 240, desired: 4, cause: 'load' },
  ])
})

test('steps: a queue at two looks only adds nothing; exactly the depth is not above it', () => {
  const drive = new Drive({})
  // Looks at 0 and 30 find the queue, the one at 60 does not; then those at 90 and 120 do.
  drive.run(60, { inFlight: 10, held: 30 })
  drive.run(20, { inFlight: 8 })
  drive.run(60, { inFlight: 10, held: 30 })
  drive.run(60, { inFlight: 8 })
  drive.run(600, { inFlight: 10, held: 2 })
  assert.deepEqual(drive.changes, [])
})

test('steps: rejected requests, and those the replicas cannot take at once, are a queue', () => {
  for (const load of [{ rejected: 3 }, { inFlight: 13 }]) {
    const drive = new Drive({})
    drive.run(62, { ready: 1, ...load })
    assert.deepEqual(desiredOf(drive), [2])
  }
})

test('steps: latency above the SLA target, else above the setting', () => {
  for (const [ttftTargetMs, ttftMsP90, added] of [
    [null, 2001, true],
    [null, 1999, false],
    [500, 501, true],
    [5000, 4000, false],
  ] as const) {
    const drive = new Drive({})
    drive.sla = { ttftTargetMs }
    drive.run(62, { inFlight: 3, ttftMsP90 })
    assert.deepEqual(drive.changes, added ? [{ seconds: 60, desired: 2, cause: 'latency' }] : [])
  }
})

test('steps: down by one after three looks and the cooldown, each time anew', () => {
  const drive = new Drive({ cooldownSeconds: 300 }, 3)
  assert.equal(drive.run(200).cause, 'steady')
  const held = new Drive({ cooldownSeconds: 300 }, 3)
  held.run(120)
  assert.deepEqual([held.report().cause, held.state.looksDown], ['cooldown-held', 3])
  assert.equal(held.state.calmSince, startAt)
  drive.run(500)
  assert.deepEqual(drive.changes, [
    { seconds: 300, desired: 2, cause: 'load' },
    { seconds: 630, desired: 1, cause: 'load' },
  ])
})

test('down only when N−1 carries the load at 70 %', () => {
  for (const policy of ['steps', 'target', 'slo'] as const)
    for (const [inFlight, after] of [
      [14, 2],
      [15, 3],
    ] as const) {
      const drive = new Drive({ policy }, 3)
      assert.equal(drive.run(700, { inFlight }).desired, after, `${policy} ${inFlight}`)
    }
})

test('any waiting request begins the calm anew', () => {
  for (const policy of ['steps', 'target', 'slo'] as const) {
    const drive = new Drive({ policy, cooldownSeconds: 300 }, 3)
    for (let round = 0; round < 5; round += 1) {
      drive.run(250)
      drive.run(2, { held: 1 })
    }
    assert.deepEqual(drive.changes, [], policy)
  }
})

test('target: sudden load is answered with a jump in seconds, and nothing goes down for a minute after', () => {
  const drive = new Drive({ policy: 'target', cooldownSeconds: 121 })
  drive.run(60)
  drive.run(10, { inFlight: 56 })
  assert.deepEqual(drive.changes.at(-1), { seconds: 64, desired: 8, cause: 'load' })
  assert.match(drive.run(40).why, /Sudden growth/)
  assert.equal(drive.state.desired, 8)
  assert.equal(drive.state.looksDown, 0)
})

test('target: steady growth is followed, at most doubling', () => {
  const drive = new Drive({ policy: 'target' }, 2)
  let before = 2
  for (let inFlight = 8; inFlight < 60; inFlight += 1) {
    const { desired } = drive.run(20, { inFlight })
    assert.ok(desired <= 2 * before && desired >= before)
    before = desired
  }
  assert.equal(drive.run(80, { inFlight: 60 }).desired, 9)
  drive.policy = { ...drive.policy, maxReplicas: 9 }
  assert.equal(drive.run(80, { inFlight: 90 }).cause, 'limits')
})

test('target: replicas on their way are not asked for twice', () => {
  const drive = new Drive({ policy: 'target' })
  drive.run(120, () => ({ inFlight: 10, held: 18, ready: 1, pending: drive.state.desired - 1 }))
  assert.equal(drive.state.desired, 4)
})

test('target: one down at a time, each after its cooldown', () => {
  const drive = new Drive({ policy: 'target', cooldownSeconds: 150 }, 4)
  drive.run(640)
  assert.deepEqual(desiredOf(drive), [3, 2, 1])
  assert.deepEqual(
    drive.changes.map(({ seconds }) => seconds),
    [150, 302, 454],
  )
})

test('slo: latency adds one at a time and waits for the effect; near the target nothing goes down', () => {
  const drive = new Drive({ policy: 'slo' }, 1)
  drive.sla = { ttftTargetMs: 400 }
  drive.run(120, { inFlight: 2, ttftMsP90: 700 })
  const [first, second] = drive.changes
  assert.equal(first?.cause, 'latency')
  assert.ok(second!.seconds - first!.seconds >= 30)
  const now = drive.state.desired
  assert.equal(drive.run(900, { inFlight: 2, ttftMsP90: 390 }).desired, now)
  assert.ok(drive.run(900, { inFlight: 2, ttftMsP90: 200 }).desired < now)
  const target = new Drive({ policy: 'target' }, 1)
  target.run(120, { inFlight: 2, ttftMsP90: 9000 })
  assert.deepEqual(target.changes, [])
})

test('slo: nothing more is asked for while replicas are on their way', () => {
  const drive = new Drive({ policy: 'slo' }, 1)
  drive.sla = { ttftTargetMs: 400 }
  drive.run(300, () => ({ inFlight: 2, ttftMsP90: 700, ready: 1, pending: drive.state.desired - 1 }))
  assert.equal(drive.state.desired, 2)
})

test('target: after sudden growth that nobody had to wait for, nothing is even counted towards less', () => {
  const drive = new Drive({ policy: 'target', cooldownSeconds: 121 })
  drive.run(10, { inFlight: 8 })
  assert.equal(drive.state.desired, 2)
  assert.match(drive.run(50).why, /Sudden growth/)
  assert.equal(drive.state.calmSince, null)
})

test('target: without panic a step at most doubles, however high the last minute was', () => {
  const drive = new Drive({ policy: 'steps' })
  drive.run(50, { inFlight: 56 })
  drive.policy = { ...drive.policy, policy: 'target' }
  drive.run(4, { inFlight: 3, ready: 4 })
  drive.run(6, { inFlight: 3, ready: 4 })
  assert.deepEqual(desiredOf(drive), [2, 4, 8])
})

test('after the clock was set back it looks at once, and no panic outlives its minute', () => {
  const drive = new Drive({ policy: 'target' })
  drive.run(20, { inFlight: 20 })
  assert.ok(drive.state.panicUntil !== null)
  drive.now -= 3_600_000
  drive.run(10, { inFlight: 56 })
  assert.equal(drive.state.desired, 8)
  drive.now -= 3_600_000
  drive.run(70, { inFlight: 50 })
  assert.equal(drive.state.panicUntil, null)
})

test('three looks, also where the cooldown is over after two', () => {
  const drive = new Drive({ cooldownSeconds: 121 }, 2)
  drive.settings = { ...drive.settings, lookEverySeconds: 130 }
  drive.run(300)
  assert.deepEqual(drive.changes, [{ seconds: 260, desired: 1, cause: 'load' }])
})

test('rounding adds no replica', () => {
  for (let capacity = 10; capacity <= 640; capacity += 10)
    for (let replicas = 1; replicas <= 50; replicas += 1)
      assert.equal(replicasFor((capacity / 10) * 7 * replicas, capacity), replicas)
})

test('a burst to one that sleeps: one start until it answers, then as many as the load still asks for', () => {
  for (const policy of ['steps', 'target', 'slo'] as const) {
    const drive = new Drive({ policy, maxReplicas: 8, scaleToZero: true }, 0)
    const burst = { held: 500, ready: 0, pending: 1, ttftMsP90: 90_000 }
    drive.run(300, burst)
    assert.deepEqual(drive.changes, [{ seconds: 0, desired: 1, cause: 'wake' }], policy)
    // All of it was short, and is answered: nothing more was needed.
    const short = new Drive({ policy, maxReplicas: 8, scaleToZero: true }, 0)
    short.run(300, burst)
    short.run(60, { inFlight: 3, ready: 1 })
    assert.equal(short.state.desired, 1, policy)
    drive.run(120, () => ({ inFlight: 500, ready: Math.min(1, drive.state.desired), ttftMsP90: 90_000 }))
    assert.ok(drive.state.desired > 1, policy)
    if (policy === 'target') assert.deepEqual([drive.changes[1]!.seconds, drive.state.desired], [302, 8])
  }
})

test('one that was just made waits for its first replica as well, with as many as it began with', () => {
  const drive = new Drive({ policy: 'target', minReplicas: 2, maxReplicas: 8 }, 2)
  drive.run(120, { held: 500, ready: 0, pending: 2 })
  assert.deepEqual(drive.changes, [])
  drive.run(6, { inFlight: 400, held: 100, ready: 1, pending: 1 })
  assert.equal(drive.state.desired, 8)
})
