/** ≥ 20,000 random steps over the plan, invariants after every one; and the planted bugs that this must find. */
import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { type Action, plan } from '../../src/deployments/plan.ts'
import { check, settle, step } from './events.ts'
import { World } from './world.ts'

const steps = Number(process.env.STEPS ?? 40_000)
const perWorld = 1_000
const firstSeed = Number(process.env.SEED ?? 1)

function run(seed: number, planner: typeof plan, count = perWorld): void {
  const world = new World(seed, planner)
  world.addDeployment()
  const trace: string[] = []
  try {
    for (let i = 0; i < count; i += 1) {
      trace.push(`${i} t=${world.now} ${step(world)}`)
      check(world)
    }
    settle(world)
  } catch (error) {
    throw new Error(`SEED=${seed}: ${(error as Error).message}\n${trace.slice(-8).join('\n')}`, { cause: error })
  }
}

test(`plan: ${steps} random steps keep every invariant and settle`, () => {
  for (let seed = firstSeed; seed < firstSeed + (process.env.SEED ? 1 : steps / perWorld); seed += 1) run(seed, plan)
})

const planted: Record<string, typeof plan> = {
  'one replica too many': (input) => {
    const result = plan(input)
    const extra = result.actions.find((action) => action.do === 'plan_replica')
    return extra ? { ...result, actions: [...result.actions, extra] } : result
  },
  'forgets to look again': (input) => ({ ...plan(input), wakeAt: null }),
  'bills until the discovery of a death': (input) =>
    withPatches(plan(input), (patch) => (patch.exit ? { ...patch, endedAt: input.now + 1 } : patch)),
  'believes a delete before the provider says not found': (input) => {
    const result = plan(input)
    const removed = new Set(result.actions.flatMap((a) => (a.do === 'delete' ? [a.replicaId] : [])))
    const gone = [...removed].map(
      (replicaId): Action => ({
        do: 'update',
        replicaId,
        patch: { phase: 'gone', goneAt: input.now, endedAt: input.now },
      }),
    )
    return { ...result, actions: [...result.actions.filter((a) => a.do !== 'delete'), ...gone] }
  },
  'never brakes': (input) => plan({ ...input, settings: { ...input.settings, brakeAfter: Number.MAX_SAFE_INTEGER } }),
  'never goes back to the revision before': (input) =>
    plan({ ...input, settings: { ...input.settings, rollbackAfter: Number.MAX_SAFE_INTEGER } }),
  'rolls with a gap': (input) => {
    const result = plan(input)
    const old = input.replicas.find((r) => r.phase === 'ready' && r.revisionId !== input.revisions[0]!.id)
    const drain: Action[] = old
      ? [{ do: 'update', replicaId: old.id, patch: { phase: 'draining', drainAt: input.now } }]
      : []
    return { ...result, actions: [...result.actions, ...drain] }
  },
  'lets go of what is silent before another has its place': (input) => {
    const silent = input.replicas.find(({ phase, unhealthySince }) => phase === 'ready' && unhealthySince !== null)
    const result = plan(input)
    if (!silent || input.now - silent.unhealthySince! < input.settings.unresponsiveMs) return result
    const exit = { at: silent.unhealthySince!, code: null, signal: null, lastLines: [], why: 'It is silent.' }
    const patch = { phase: 'deleting' as const, endedAt: exit.at, exit }
    return {
      ...result,
      actions: [
        ...result.actions.filter((a) => a.do !== 'plan_replica'),
        { do: 'update', replicaId: silent.id, patch },
      ],
    }
  },
  'forgets that it was deleted': (input) =>
    input.deployment.desired === 'deleted'
      ? plan({ ...input, deployment: { ...input.deployment, desired: 'running' } })
      : plan(input),
}

function withPatches(
  result: ReturnType<typeof plan>,
  change: (patch: Extract<Action, { do: 'update' }>['patch']) => Extract<Action, { do: 'update' }>['patch'],
) {
  return {
    ...result,
    actions: result.actions.map((a): Action => (a.do === 'update' ? { ...a, patch: change(a.patch) } : a)),
  }
}

for (const [name, bug] of Object.entries(planted)) {
  test(`planted bug is found: ${name}`, () => {
    assert.throws(() => {
      for (let seed = 1; seed <= 20; seed += 1) run(seed, bug)
    }, /SEED=/)
  })
}
