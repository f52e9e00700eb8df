/**
 * Reporter that runs inside the process of one test file and tells `test-file.ts` what happens, one JSON object a line,
 * on file descriptor 3. On 4 it holds a pipe whose end means that nobody listens any more.
 */
import { writeSync } from 'node:fs'
import net from 'node:net'
import type { TestEvent } from 'node:test/reporters'
import { inspect } from 'node:util'

/** What one test file tells. `name` holds the names of the suites around a test as well. */
export type FileEvent =
  | { type: 'begun'; id: number; name: string }
  | {
      type: 'done'
      id: number
      name: string
      kind: 'test' | 'suite'
      outcome: Outcome
      seconds: number
      why: string
      line: number
    }
  /** Said every `beatMs` while the process turns; it does not while a test blocks it. */
  | { type: 'beat' }
  | { type: 'over' }

export const beatMs = 500

/** `nested` = failed only because something inside it failed, which is told by itself. */
export type Outcome = 'passed' | 'failed' | 'skipped' | 'nested'

/** As Node sends it; its published types leave out the ids. */
interface EventData {
  name: string
  testId: number
  parentId: number
  line?: number
  skip?: string | boolean
  todo?: string | boolean
  details?: { type?: 'test' | 'suite'; duration_ms: number; passed?: boolean; error?: NodeFailure }
}
type NodeFailure = Error & { failureType?: string }

export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  endWithListener()
  setInterval(() => tell({ type: 'beat' }), beatMs).unref()
  const names = new Map<number, string>()
  for await (const event of source) {
    const data = event.data as unknown as EventData
    if (event.type === 'test:dequeue') {
      const parent = names.get(data.parentId)
      names.set(data.testId, parent === undefined ? data.name : `${parent} › ${data.name}`)
      tell({ type: 'begun', id: data.testId, name: names.get(data.testId)! })
    }
    if (event.type === 'test:complete') tell(completed(names.get(data.testId) ?? data.name, data))
    if (event.type === 'test:summary') tell({ type: 'over' })
  }
  yield ''
}

function completed(name: string, data: EventData): FileEvent {
  const { details } = data
  const kind = details?.type ?? 'test'
  const seconds = (details?.duration_ms ?? 0) / 1000
  const done = { type: 'done', id: data.testId, name, kind, seconds, line: data.line ?? 0 } as const
  if (details?.error) {
    const nested = details.error.failureType === 'subtestsFailed'
    return { ...done, outcome: nested ? 'nested' : 'failed', why: inspect(details.error.cause ?? details.error) }
  }
  const skip = data.skip ?? data.todo
  if (skip === undefined || skip === false) return { ...done, outcome: 'passed', why: '' }
  return { ...done, outcome: 'skipped', why: typeof skip === 'string' ? skip : '' }
}

function tell(event: FileEvent): void {
  writeSync(3, `${JSON.stringify(event)}\n`)
}

function endWithListener(): void {
  const pipe = new net.Socket({ fd: 4 })
  pipe.on('error', () => process.exit(1))
  pipe.on('close', () => process.exit(1))
  pipe.resume()
  pipe.unref()
}
