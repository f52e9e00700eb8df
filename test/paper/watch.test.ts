/**
 * What the watcher leaves alone needs no turn: whenever no look is due and nothing seen calls for a turn, a plan made all
 * the same would change no replica that is there.
 */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import type { ReplicaView } from '../../src/deployments/replica.ts'
import { callsForTurn } from '../../src/deployments/watch.ts'
import { step } from './events.ts'
import { create } from './people.ts'
import type { Deployment } from './tables.ts'
import { freeOffers, viewOf } from './turns.ts'
import { settings, World } from './world.ts'

type Calls = typeof callsForTurn

/** Steps of one world; how many deployments were left alone on the way. */
function run(seed: number, calls: Calls, count = 400): number {
  const world = new World(seed)
  create(world)
  let alone = 0
  for (let i = 0; i < count; i += 1) {
    step(world)
    for (const deployment of world.tables.deployments) {
      const views = deployment.rows.map((row) => viewOf(world, row, { recall: () => world.provider.probe(row.id) }))
      if (!isLeftAlone(world, deployment, views, calls)) continue
      alone += 1
      assert.deepEqual(changes(world, deployment, views), [], `SEED=${seed}, step ${i}, ${deployment.id}`)
    }
  }
  return alone
}

function isLeftAlone(world: World, deployment: Deployment, views: ReplicaView[], calls: Calls): boolean {
  // Drains that end are told by the gateways.
  const drains = views.some(({ phase }) => phase === 'draining')
  if (drains || deployment.lease !== null) return false
  if (deployment.nextAt === null || deployment.nextAt <= world.now) return false
  return !views.some((view) => calls(view, world.now, settings))
}

/** What a turn would change now. New replicas wait for hardware, and calls that are made again are no change. */
function changes(world: World, deployment: Deployment, replicas: ReplicaView[]) {
  const { revisions } = deployment
  const { actions } = world.rules.plan({
    deployment,
    revisions,
    replicas,
    offers: freeOffers(world),
    now: world.now,
    settings,
  })
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
