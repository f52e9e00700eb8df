/**
 * Every type of event, with what it tells and what its data holds. `docs/events.md` is written from this list; tests
 * check the data of every event against it as it is written.
 */
import { z } from 'zod'

export interface EventMeaning<Data extends z.ZodType = z.ZodType> {
  /** What has happened, in a sentence. */
  tells: string
  data: Data
}

const event = <Shape extends z.ZodRawShape>(tells: string, shape: Shape): EventMeaning<z.ZodObject<Shape>> => ({
  tells,
  data: z.strictObject(shape) as z.ZodObject<Shape>,
})

const text = z.string()
const count = z.int().nonnegative()
/** Key id of whoever asked, or the part of the server that did. */
const by = z.string()
const names = z.array(z.string())
/** At most 50. */
const lastLines = z.array(z.string())
const replica = { replica_id: text }
/** By the parts of a start: hardware, files, load, warmup. */
const partTimes = z.record(text, z.number())

/** `bytes`: what is here of `total_bytes`. */
const download = { repo: text, sha: text, bytes: count, total_bytes: count }

export const eventCatalogue = {
  'deployment.created': event('A deployment was created.', { name: text, model_id: text, by }),
  'deployment.phase': event('A deployment went from one phase to another.', {
    from: text,
    to: text,
    code: text.optional(),
    message: text.optional(),
  }),
  'deployment.delete_asked': event('Somebody deleted a deployment; its billing ends here.', { by }),
  'deployment.failed': event('Too many starts in a row failed, and no more are tried until somebody starts it.', {
    code: text,
    message: text,
    last_lines: lastLines,
  }),
  'deployment.changed': event('The settings were changed, as a new revision.', { revision: count, by, changed: names }),
  'deployment.stop_asked': event('A deployment was told to stop.', { by }),
  'deployment.start_asked': event('A stopped or failed deployment was told to start.', { by }),
  'deployment.start_refused': event('Its schedule would start it again, and cannot yet.', { why: text }),
  'deployment.restart_asked': event('Its replicas are to be replaced by new ones.', { by, revision: count }),
  'deployment.scaling_changed': event('The scaling policy was changed.', { by, changed: names }),
  'deployment.scaled': event('The wanted number of replicas changed.', {
    from: count,
    to: count,
    cause: text,
    why: text,
  }),
  'deployment.limits_changed': event('Its limits were changed.', { by, changed: names }),
  'deployment.schedule_changed': event('It was given another schedule, or none.', { by, windows: count }),
  'deployment.schedule_turned': event('A window of its schedule began or ended; `says` is what holds from now on.', {
    says: z.enum(['scale', 'sleep', 'stop', 'nothing']),
    window: count.nullable(),
    min_replicas: count.optional(),
    max_replicas: count.optional(),
    until: text.nullable(),
  }),
  'deployment.lease_changed': event('It was given another end of its lease, or none.', {
    by,
    expires_at: text.nullable(),
  }),
  'deployment.expiring': event('Its lease will end soon.', { expires_at: text }),
  'deployment.expired': event('Its lease has ended: it is stopped, and stays so.', { expires_at: text }),
  'deployment.preset_applied': event('A preset was applied.', { by, preset: text, changed: names }),
  'deployment.cold_start_missed': event(
    'It took longer than the target until a replica answered: from a request, a wake, a start or a create on, or, of one beside others, from its hardware on.',
    {
      from: z.enum(['create', 'start', 'wake', 'request', 'replica']),
      ...replica,
      target_ms: count,
      actual_ms: count,
      waited_ms: count,
      phase_ms: partTimes,
    },
  ),
  'adapter.added': event('A LoRA adapter was added.', { adapter: text, adapter_id: text, source: text, by }),
  'adapter.removed': event('A LoRA adapter was removed.', { adapter: text, adapter_id: text, by }),
  'adapter.limits_changed': event('The limits of a LoRA adapter were changed.', {
    adapter: text,
    adapter_id: text,
    by,
    changed: names,
  }),
  'adapter.ready': event('A replica has loaded an adapter, and gets its requests.', {
    adapter: text,
    adapter_id: text,
    ...replica,
  }),
  'adapter.failed': event('A replica could not load an adapter, or has lost it.', {
    adapter: text,
    adapter_id: text,
    ...replica,
    why: text,
  }),
  'revision.failed': event('A revision did not start and gave way to the one before it.', {
    revision: count,
    why: text,
  }),
  'revision.rolled_back': event('Somebody went back to an earlier revision.', { from: count, to: count, by }),
  'replica.planned': event('Hardware was reserved for a replica.', {
    ...replica,
    gpu_type: text,
    gpu_count: count,
    region: text,
  }),
  'replica.ready': event('A replica answers; since when each part of its start was under way, and how long it took.', {
    ...replica,
    start_ms: count,
    phases: partTimes,
    phase_ms: partTimes,
  }),
  'replica.adopted': event('A replica that ran before is one of a new revision with the same settings.', {
    ...replica,
    revision: count,
  }),
  'replica.draining': event('A replica gets no new requests and finishes those it has.', replica),
  'replica.drain_called_off': event('A replica that was draining is wanted again and serves on.', replica),
  'replica.ended': event('An engine ended, by itself or because it did not answer.', {
    ...replica,
    why: text,
    code: z.int().nullable(),
    signal: text.nullable(),
    last_lines: lastLines,
  }),
  'replica.gone': event('The provider says that the hardware of a replica is free again.', replica),
  'replica.refused': event('The provider refused to create a replica.', { ...replica, why: text }),
  'replica.orphan_removed': event('A machine of ours that no replica owned was removed.', replica),
  'model.ready': event('An uploaded model can be deployed.', {
    model_id: text,
    name: text.nullable(),
    size_bytes: count,
    sha256: text,
    by,
  }),
  'model.failed': event('An uploaded file cannot be served, and its bytes are gone.', {
    model_id: text,
    name: text.nullable(),
    code: text,
    message: text,
  }),
  'model.delete_asked': event('An uploaded model was deleted, or its upload given up.', {
    model_id: text,
    name: text.nullable(),
    by,
  }),
  'model.download_started': event(
    'Files of its model are being brought from the Hub, or from the bucket of uploads.',
    download,
  ),
  'model.download_progress': event('Another tenth of the files of its model is here.', download),
  'model.downloaded': event('The files of its model are here, and are what they should be.', {
    ...download,
    took_ms: count,
  }),
  'model.download_failed': event('The files of its model could not be brought.', { ...download, why: text }),
  'key.created': event('An API key was created.', { key_id: text, name: text, by }),
  'key.changed': event('The name, limits or priority of an API key were changed.', {
    key_id: text,
    by,
    changed: names,
  }),
  'key.revoked': event('An API key was revoked.', { key_id: text, by }),
  'org.created': event('An organisation was created.', { name: text }),
  'org.hub_token_set': event('The token for the Hub was set.', { by, account: text.nullable() }),
  'org.hub_token_removed': event('The token for the Hub was removed.', { by }),
  'model.added': event('The operator added a model to the catalogue, or changed one that was added.', {
    model_id: text,
    by,
  }),
  'model.removed': event('The operator took a model that was added out of the catalogue.', { model_id: text, by }),
  'org.quota_changed': event('The operator set how many GPUs an organisation may hold.', {
    from: z.int(),
    to: z.int(),
    by,
  }),
} satisfies Record<string, EventMeaning>

export type EventType = keyof typeof eventCatalogue
export type EventData = { [T in EventType]: z.output<(typeof eventCatalogue)[T]['data']> }

export interface StoredEvent {
  seq: number
  id: string
  type: EventType
  at: Date
  data: Record<string, unknown>
}

/** What is wrong with the data of an event of this type, in sentences; '' = nothing. */
export function problemsOf(type: string, data: unknown): string {
  const meaning: EventMeaning | undefined = eventCatalogue[type as EventType]
  if (meaning === undefined) return `there is no event "${type}" in the catalogue`
  const { error } = meaning.data.safeParse(data)
  return error === undefined ? '' : z.prettifyError(error)
}
