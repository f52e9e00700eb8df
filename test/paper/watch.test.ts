/**
 * What the watcher leaves alone needs no turn: whenever no look is due and nothing seen calls for a turn, a plan made all
 * the same would change no replica that is there.
 */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { plan } from '../../src/deployments/plan.ts'
import { callsForTurn } from '../../src/deployments/watch.ts'
import { step } from './events.ts'
import { type Deployment, settings, World } from './world.ts'

type Calls = typeof callsForTurn

/** Steps of one world; how many deployments were left alone on the way. */
function run(seed: number, calls: Calls, count = 400): number {
  const world = new World(seed, plan)
  world.addDeployment()
  let alone = 0
  for (let i = 0; i < count; i += 1) {
    step(world)
    for (const deployment of world.deployments) {
      if (!isLeftAlone(world, deployment, calls)) continue
      alone += 1
      assert.deepEqual(changes(world, deployment), [], `SEED=${seed}, step ${i}, ${deployment.id}`)
    }
  }
  return alone
}

function isLeftAlone(world: World, deployment: Deployment, calls: Calls): boolean {
  const views = world.live(deployment).map((row) => world.view(row))
  // Drains that end are told by the gateways.
  const drains = views.some(({ phase }) => phase === 'draining')
  if (drains || deployment.wakeAt === null || deployment.wakeAt <= world.now) return false
  return !views.some((view) => calls(view, world.now, settings))
}

/** What a turn would change now. New replicas wait for hardware, and calls that are made again are no change. */
function changes(world: World, deployment: Deployment) {
  const input = {
    deployment,
    revisions: deployment.revisions,
    replicas: world.live(deployment).map((row) => world.view(row)),
    offers: world.offers(),
    now: world.now,
    settings,
  }
  const { actions } = plan(input)
  const waited = actions.some((action) => action.do === 'plan_replica')
  return waited ? [] : actions.filter((action) => action.do === 'update')
}

test('what the watcher leaves alone needs no turn', () => {
  let alone = 0
  for (let seed = 1; seed <= 60; seed += 1) alone += run(seed, callsForTurn)
  assert.ok(alone > 500, `${alone} deployments were left alone`)
})

const planted: Record<string, Calls> = {
  'does not see deaths': (view, now, s) => view.seen?.state !== 'exited' && callsForTurn(view, now, s),
  'does not see readiness': (view, now, s) => view.phase !== 'starting' && callsForTurn(view, now, s),
  'does not see that it is gone': (view, now, s) => view.phase !== 'deleting' && callsForTurn(view, now, s),
  'does not see silence': (view, now, s) => view.probe?.state !== 'not_ready' && callsForTurn(view, now, s),
}
for (const [name, blind] of Object.entries(planted))
  test(`planted bug is found: a watcher that ${name}`, () => {
    assert.throws(() => {
      for (let seed = 1; seed <= 20; seed += 1) run(seed, blind)
    }, /SEED=/)
  })
