/**
 * Loaded into every worker before anything else: when the file that PADDOCK_TEST_DEATH names is there, the first worker
 * to take it dies as it says.
 */
import { readFileSync, renameSync } from 'node:fs'
import { isMainThread, threadId } from 'node:worker_threads'

const order = process.env.PADDOCK_TEST_DEATH
const taken = `${order}-${threadId}`

const deaths = {
  exit: () => process.exit(7),
  throw: () => {
    throw new Error('planted')
  },
  memory: () => {
    const kept = []
    for (;;) kept.push(Array.from({ length: 10_000 }, Math.random))
  },
}

function look() {
  try {
    renameSync(order, taken)
  } catch {
    return
  }
  deaths[readFileSync(taken, 'utf8')]()
}

if (!isMainThread && order) setInterval(look, 10).unref()
