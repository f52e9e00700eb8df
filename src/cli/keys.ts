/** `paddock keys` and `paddock orgs`: who may use the server. */
import type { ApiKey, CreateKey, KeyRole } from '../wire/native/account.ts'
import { ApiError } from '../wire/native/client.ts'
import { durationOption } from './deploy.ts'
import { exitStatus, Failure, usageFailure } from './failure.ts'
import { type LimitOptions, limitsBody, limitsText } from './limits.ts'
import { allPages, type Session } from './session.ts'
import { type Column, tableLines } from './table.ts'
import { ageText, counted } from './words.ts'

export async function createKey(
  { screen, client, clock, url }: Session,
  options: LimitOptions & { name: string; role?: string; expiresIn?: string; priority?: string },
): Promise<void> {
  const expires =
    options.expiresIn === undefined ? null : clock.now() + durationOption('--expires-in', options.expiresIn)
  const wish: CreateKey = {
    name: options.name,
    ...(options.role === undefined ? {} : { role: options.role as KeyRole }),
    ...(expires === null ? {} : { expires_at: new Date(expires).toISOString() }),
    ...boundsBody(options),
  }
  const key = await client.createKey(wish)
  screen.answer(key, () => key.secret)
  screen.note(
    [
      `This is the key "${key.name}" (${key.id}, ${key.role}). It is shown this once: keep it now.`,
      `Use it:  export PADDOCK_API_KEY=<the key>  (and PADDOCK_URL=${url}), or as "Authorization: Bearer <the key>".`,
      ...(key.propagated ? [] : ['A gateway has not confirmed it yet; it works everywhere in a moment.']),
    ].join('\n'),
  )
}

export async function listKeys({ screen, client, clock }: Session): Promise<void> {
  const list = await allPages((page) => client.listKeys(page))
  screen.answer(list, () => tableLines(keyColumns(clock.now()), list.data, screen.columns))
}

export async function revokeKey({ screen, client }: Session, id: string): Promise<void> {
  const revoked = await aboutKey(id, client.revokeKey(id))
  screen.answer(revoked, () =>
    revoked.propagated
      ? `${revoked.id} is revoked: no gateway accepts it any more.`
      : `${revoked.id} is revoked. A gateway has not confirmed it yet and may accept it for a moment.`,
  )
}

export async function getKey({ screen, client }: Session, id: string): Promise<void> {
  const key = await aboutKey(id, client.getKey(id))
  screen.answer(key, () => keyText(key))
}

export async function changeKey(
  { screen, client }: Session,
  id: string,
  options: LimitOptions & { name?: string; priority?: string },
): Promise<void> {
  const body = { ...(options.name === undefined ? {} : { name: options.name }), ...boundsBody(options) }
  if (Object.keys(body).length === 0)
    throw usageFailure('Say what to change.', 'See "paddock keys set --help" for what there is.')
  const key = await aboutKey(id, client.changeKey(id, body))
  screen.answer(key, () => keyText(key))
  if (!key.propagated) screen.note('A gateway has not confirmed it yet; it counts everywhere in a moment.')
}

function keyText(key: ApiKey): string {
  return `${key.id} "${key.name}" (${key.role}): ${limitsText(key.limits)}; priority up to ${key.priority}.`
}

function boundsBody(options: LimitOptions & { priority?: string }): Pick<CreateKey, 'limits' | 'priority'> {
  const limits = limitsBody(options)
  const { priority } = options
  if (priority !== undefined && !/^[0-4]$/.test(priority))
    throw usageFailure(`--priority must be 0, 1, 2, 3 or 4; seen: "${priority}".`)
  return {
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
    ...(priority === undefined ? {} : { priority: Number(priority) }),
  }
}

function aboutKey<T>(id: string, asking: Promise<T>): Promise<T> {
  return asking.catch((error) => {
    if (!(error instanceof ApiError) || error.code !== 'not_found') throw error
    throw new Failure(exitStatus.notFound, 'not_found', `There is no key "${id}".`, 'List them with "paddock keys ls".')
  })
}

function keyColumns(nowMs: number): Column<ApiKey>[] {
  const ago = (at: string | null) => (at === null ? 'never' : `${ageText(nowMs - Date.parse(at))} ago`)
  return [
    { title: 'ID', cell: (key) => key.id },
    { title: 'NAME', cell: (key) => key.name, shrinksTo: 10 },
    { title: 'ROLE', cell: (key) => key.role },
    { title: 'KEY', cell: (key) => `…${key.hint}` },
    { title: 'CREATED', cell: (key) => ago(key.created_at) },
    { title: 'LAST USED', cell: (key) => ago(key.last_used_at) },
    { title: 'STATE', cell: (key) => keyState(key, nowMs) },
  ]
}

function keyState(key: ApiKey, nowMs: number): string {
  if (key.revoked_at !== null) return 'revoked'
  if (key.expires_at === null) return 'valid'
  const left = Date.parse(key.expires_at) - nowMs
  return left <= 0 ? 'expired' : `valid for ${ageText(left)}`
}

export async function createOrg({ screen, client }: Session, name: string): Promise<void> {
  const org = await client.createOrg({ name })
  screen.answer(org, () => [
    `Organisation ${org.name} is ${org.id}.`,
    `Its first key:  paddock keys create --name first --role owner --org ${org.id}`,
  ])
}

export async function listOrgs({ screen, client, clock }: Session): Promise<void> {
  const list = await client.listOrgs()
  const columns: Column<(typeof list.data)[number]>[] = [
    { title: 'ID', cell: (org) => org.id },
    { title: 'NAME', cell: (org) => org.name, shrinksTo: 10 },
    { title: 'GPUS', cell: (org) => `${org.quota.gpus_used}/${org.quota.gpus}`, right: true },
    { title: 'AGE', cell: (org) => ageText(clock.now() - Date.parse(org.created_at)), right: true },
  ]
  screen.answer(list, () => tableLines(columns, list.data, screen.columns))
}

export async function setQuota({ screen, client }: Session, id: string, gpus: string): Promise<void> {
  if (gpus !== 'default' && !/^\d{1,7}$/.test(gpus))
    throw usageFailure(`The quota must be a whole number of GPUs, or "default"; seen: "${gpus}".`)
  const quota = await client.changeQuota(id, { gpus: gpus === 'default' ? null : Number(gpus) })
  screen.answer(quota, () => `${quota.org_id} may hold ${counted(quota.gpus, 'GPU')}. ${quota.message}`)
}
