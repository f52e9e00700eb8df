/** `paddock adapters`: lists, adds and removes LoRA adapters; on request waits until one can be called. */
import type { Adapter } from '../wire/native/adapters.ts'
import { durationOption } from './deploy.ts'
import { exitStatus, Failure, usageFailure } from './failure.ts'
import { type LimitOptions, limitsBody, limitsText } from './limits.ts'
import { aboutDeployment, type Session } from './session.ts'
import { type Column, tableLines } from './table.ts'
import { elapsedText } from './words.ts'

export interface AddOptions extends LimitOptions {
  name?: string
  force?: boolean
  allowDowntime?: boolean
  wait?: boolean
  timeout?: string
}

export interface RemoveOptions {
  allowDowntime?: boolean
}

const everyMs = 200

export async function listAdapters({ screen, client }: Session, name: string): Promise<void> {
  const list = await aboutDeployment(name, client.listAdapters(name))
  const columns: Column<Adapter>[] = [
    { title: 'MODEL', cell: (adapter) => adapter.model },
    { title: 'STATE', cell: (adapter) => adapter.state },
    { title: 'READY', cell: ({ replicas }) => `${ready(replicas)}/${replicas.length}`, right: true },
    { title: 'FORMAT', cell: (adapter) => adapter.format },
    { title: 'RANK', cell: (adapter) => String(adapter.rank), right: true },
    { title: 'SIZE', cell: (adapter) => `${(adapter.size_bytes / 1e6).toFixed(1)} MB`, right: true },
    ...(list.data.some(isLimited)
      ? [{ title: 'LIMITS', cell: (adapter: Adapter) => limitsText(adapter.limits), shrinksTo: 10 }]
      : []),
    { title: 'WHY', cell: (adapter) => whyOf(adapter), shrinksTo: 10 },
  ]
  screen.answer(list, () =>
    list.data.length === 0 ? `${name} has no adapters.` : tableLines(columns, list.data, screen.columns),
  )
}

export async function addAdapter(session: Session, name: string, source: string, options: AddOptions): Promise<void> {
  const { screen, client } = session
  const timeoutMs = durationOption('--timeout', options.timeout ?? '10m')
  const limits = limitsBody(options)
  const body = {
    source,
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.force ? { force: true } : {}),
    ...(options.allowDowntime ? { allow_downtime: true } : {}),
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
  }
  const added = await aboutDeployment(name, client.addAdapter(name, body))
  if (!options.wait) {
    screen.answer(added, () => `${added.model} is being loaded; "paddock adapters list ${name}" says how far it is.`)
    return
  }
  const loaded = await untilReady(session, name, added, timeoutMs)
  screen.answer(loaded, () => `${loaded.model} can be called.`)
}

export async function changeAdapter(
  { screen, client }: Session,
  name: string,
  adapter: string,
  options: LimitOptions,
): Promise<void> {
  const limits = limitsBody(options)
  if (Object.keys(limits).length === 0)
    throw usageFailure('Say what to change.', 'See "paddock adapters set --help" for what there is.')
  const changed = await client.changeAdapter(name, adapter, { limits })
  screen.answer(changed, () => `${changed.model}: ${limitsText(changed.limits)}.`)
}

export async function removeAdapter(
  { screen, client }: Session,
  name: string,
  adapter: string,
  options: RemoveOptions,
): Promise<void> {
  const removed = await client.removeAdapter(name, adapter, { allowDowntime: options.allowDowntime })
  screen.answer(removed, () => `${removed.model} is removed.`)
}

async function untilReady(session: Session, name: string, { id, model }: Adapter, timeoutMs: number): Promise<Adapter> {
  const { client, clock, interruption } = session
  const began = clock.monotonicMs()
  for (;;) {
    const seen = (await client.listAdapters(name)).data.find((one) => one.id === id)
    if (seen === undefined) throw new Failure(exitStatus.failed, 'not_found', `${model} was removed meanwhile.`, '')
    if (seen.state === 'ready') return seen
    if (seen.state === 'failed')
      throw new Failure(exitStatus.failed, 'adapter_failed', `${model} could not be loaded: ${whyOf(seen)}`, '')
    if (interruption.signal.aborted) throw interruption.signal.reason
    if (clock.monotonicMs() - began >= timeoutMs)
      throw new Failure(
        exitStatus.timeout,
        'timeout',
        `${model} was not loaded within ${elapsedText(timeoutMs)}; it goes on without this command.`,
        `See "paddock adapters list ${name}".`,
      )
    await clock.sleep(everyMs, interruption.signal)
  }
}

function isLimited({ limits }: Adapter): boolean {
  return Object.values(limits).some((limit) => limit !== null)
}

function ready(replicas: Adapter['replicas']): number {
  return replicas.filter(({ state }) => state === 'ready').length
}

function whyOf({ replicas }: Adapter): string {
  return replicas.find(({ detail }) => detail !== null)?.detail ?? ''
}
