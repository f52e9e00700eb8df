/**
 * One writer per fact: which statements write a fact of a deployment, and who calls them. A new one is a decision, taken
 * here. Two who write the number of replicas is how peers' deployments came to flap.
 */
import { strict as assert } from 'node:assert'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { isProduct, readTree, type Tree } from './tree.ts'

/** Column of `deployments` → the functions whose statement writes it. An insert is no rewriting. */
const writers: Record<string, string[]> = {
  desired_replicas: ['deployments/wanted.ts setDesiredReplicas'],
  scaling: ['autoscaling/store.ts savePolicy'],
  autoscaler: ['autoscaling/store.ts saveState', 'autoscaling/store.ts saveStates'],
  limited: ['deployments/quota-store.ts saveLimited'],
  ready_replicas: ['deployments/store.ts saveVerdict'],
  plan_why: ['deployments/store.ts saveVerdict'],
}

/** Function → the files that may call it. */
const callers: Record<string, string[]> = {
  // People, load, and a start after a stop.
  setDesiredReplicas: ['autoscaling/commands.ts', 'autoscaling/loop.ts', 'deployments/stop-start.ts'],
  resetStarts: ['deployments/lifecycle.ts', 'deployments/stop-start.ts'],
  saveLimited: ['autoscaling/loop.ts'],
  saveVerdict: ['deployments/intent.ts'],
  saveState: ['autoscaling/loop.ts'],
  saveStates: ['autoscaling/loop.ts'],
  savePolicy: ['autoscaling/commands.ts'],
}

/** Column → `file function` for every statement that updates `deployments`. */
function writersIn(tree: Tree): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>()
  for (const [path, text] of product(tree))
    for (const { index, 1: sets } of text.matchAll(
      /update deployments(?: as \w+)?\s+set\s+([\s\S]*?)(?:\bwhere\b|[`;])/g,
    )) {
      const name = [...text.slice(0, index).matchAll(/function (\w+)/g)].at(-1)?.[1]
      for (const { 1: column } of sets!.matchAll(/(?:^|,)\s*(\w+) = /g)) {
        const of = found.get(column!) ?? new Set()
        found.set(column!, of.add(`${path.slice('src/'.length)} ${name}`))
      }
    }
  return found
}

function callersIn(tree: Tree, name: string): string[] {
  const called = new RegExp(`(?<!function )\\b${name}\\(`)
  return [...product(tree)].filter(([, text]) => called.test(text)).map(([path]) => path.slice('src/'.length))
}

function product(tree: Tree): [path: string, text: string][] {
  return [...tree].filter(([path]) => isProduct(path))
}

const tree = readTree(resolve(import.meta.dirname, '..', '..'))

test('every fact has the writers that it is said to have', () => {
  const found = writersIn(tree)
  for (const [column, expected] of Object.entries(writers))
    assert.deepEqual([...(found.get(column) ?? [])].sort(), expected, column)
  for (const [name, expected] of Object.entries(callers)) assert.deepEqual(callersIn(tree, name).sort(), expected, name)
})

test('planted: another statement, and another caller, are seen', () => {
  const other =
    'async function lower(tx: Tx) {\n  await tx.query(`update deployments set\n    next_at = $2, desired_replicas = 1 where id = $1`)\n}\n'
  const more = new Map([...tree, ['src/deployments/other.ts', `${other}await setDesiredReplicas(tx, change)\n`]])
  assert.ok(writersIn(more).get('desired_replicas')!.has('deployments/other.ts lower'))
  assert.ok(callersIn(more, 'setDesiredReplicas').includes('deployments/other.ts'))
})
