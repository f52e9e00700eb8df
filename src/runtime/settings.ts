/**
 * Every setting of the server: name, default, meaning. `a.b_c` in the file is `PADDOCK_A_B_C` in the environment and,
 * for the few that have one, a flag of `serve`. docs/operate/settings.md is generated from this list.
 */
import { join } from 'node:path'
import { z } from 'zod'
import { homeFolder } from './environment.ts'

export interface Setting<T = unknown> {
  schema: z.ZodType<T>
  default: T
  about: string
}

const setting = <T>(schema: z.ZodType<T>, value: T, about: string): Setting<T> => ({ schema, default: value, about })
const count = (min: number, max: number) => z.coerce.number().int().min(min).max(max)
const text = z.string().min(1)
const flag = z.union([z.boolean(), z.enum(['true', 'false', '1', '0']).transform((v) => v === 'true' || v === '1')])
/** What the environment holds as text, where a file holds a list or a map; anything else stays as it is. */
function fromJson(value: unknown, opening: '[' | '{'): unknown {
  if (typeof value !== 'string' || !value.trimStart().startsWith(opening)) return value
  try {
    return JSON.parse(value)
  } catch {
    return value
  }
}

/** A list in a file, or comma-separated text or JSON in the environment. */
const list = z.preprocess(
  (value) => fromJson(value, '['),
  z.union([
    z.array(z.string().min(1)),
    z.string().transform((v) =>
      v
        .split(',')
        .map((item) => item.trim())
        .filter(Boolean),
    ),
  ]),
)

const price = z.union([z.string(), z.number().transform(String)]).refine((text) => /^\d{1,9}(\.\d{1,6})?$/.test(text), {
  error: 'must be prices in USD by GPU type, such as {"h200": "4.41"}',
})
/** A map in a file, or JSON in the environment. */
const prices = z.preprocess(
  (value) => fromJson(value, '{'),
  z.record(z.string(), price, { error: 'must be prices in USD by GPU type, such as {"h200": "4.41"}' }),
)

export const settings = {
  port: setting(count(0, 65_535), 8080, 'Public port. 0 picks a free one.'),
  host: setting(text, '127.0.0.1', 'Address to listen on.'),
  data: setting(text, join(homeFolder(), '.paddock'), 'Data folder; only its owner can enter it.'),
  fleet: setting(
    z.enum(['local', 'emulated', 'simulated']),
    'local',
    'Hardware: what this machine has, every GPU type as slots on it, or every type made up, without any engine.',
  ),
  keep_engines: setting(flag, false, 'Leave engines running at shutdown, for the next start to adopt.'),
  public_url: setting(z.string(), '', 'Address under which clients reach this server; default: http://host:port.'),
  database_url: setting(z.string(), '', 'Postgres to use instead of the embedded one.'),
  secret_key: setting(z.string(), '', 'Key that seals secrets at rest; default: kept in DIR/secret-key.'),
  operator_key: setting(z.string(), '', 'The operator’s API key; default: created once, kept in DIR/operator-key.'),
  system_folder: setting(text, '/var/lib/paddock', 'Under root: where other uids find what they must read.'),
  'log.level': setting(z.enum(['debug', 'info', 'warn', 'error', 'silent']), 'info', 'How much is logged.'),
  'isolation.uid_base': setting(
    count(1000, 2_000_000_000),
    61_200,
    'Under root: first of 513 uids for Postgres and engines.',
  ),
  'compute.local.cpu_slots': setting(count(0, 1000), 8, 'How many CPU replicas this machine may run.'),
  'compute.local.memory_gib': setting(
    count(0, 1_000_000),
    0,
    'Memory that replicas on the CPU may take, for the fit check; 0: as much as this machine has.',
  ),
  'compute.local.lease_seconds': setting(
    count(2, 86_400),
    900,
    'Engines end by themselves when nobody renewed them this long.',
  ),
  'compute.local.stop_grace_seconds': setting(count(0, 600), 10, 'Seconds between SIGTERM and SIGKILL for an engine.'),
  'compute.simulated.script': setting(
    z.string(),
    '',
    'Simulated fleet: JSON file that says what hardware there is and what goes wrong with it.',
  ),
  'compute.prices': setting(prices, {}, 'USD per unit-hour by GPU type; overrides the catalogue.'),
  'capacity.reserve_after_minutes': setting(
    z.coerce.number().min(0).max(525_600),
    10,
    'A deployment that waits longer than this for hardware has a place kept free for it.',
  ),
  'capacity.refused_seconds': setting(
    z.coerce.number().min(0).max(86_400),
    30,
    'A place whose provider had nothing although it offered is not asked again this long.',
  ),
  'models.allow_paths': setting(
    list,
    [] as string[],
    'Folders whose models (GGUF files, folders of safetensors) may be deployed by path.',
  ),
  'adapters.maximum': setting(count(0, 256), 32, 'LoRA adapters that a deployment may have.'),
  'adapters.sets': setting(
    count(0, 256),
    8,
    'Adapters and mixtures of adapters that one replica of the embedded engine computes with at once; each takes the memory of a context.',
  ),
  'models.upload_max_bytes': setting(
    count(1024, 1024 ** 4),
    20_000_000_000,
    'Largest file that an organisation may upload as a model.',
  ),
  'models.upload_min_free_bytes': setting(
    count(0, 2 ** 50),
    512 * 1024 * 1024,
    'Room on the disk that uploads leave free: the database is there too.',
  ),
  'models.upload_kept_hours': setting(
    z.coerce.number().min(0.01).max(8760),
    24,
    'How long an interrupted resumable upload may be gone on with, and a failed one is listed.',
  ),
  'models.bucket': setting(
    z.string(),
    '',
    'Bucket in which uploaded models are stored, of Amazon S3 or a service that speaks it; default: the data folder.',
  ),
  'models.bucket_prefix': setting(text, 'paddock/', 'Begins the names of all objects; this server adds its own id.'),
  'models.bucket_region': setting(text, 'us-east-1', 'Region of the bucket.'),
  'models.bucket_endpoint': setting(z.string(), '', 'Address of a service that is not Amazon’s.'),
  'models.bucket_path_style': setting(flag, false, 'The bucket is in the path of its address, not in the host’s name.'),
  'models.bucket_access_key_id': setting(
    z.string(),
    '',
    'Key of the bucket; default: as the AWS SDK finds it (environment, profile, instance).',
  ),
  'models.bucket_secret_access_key': setting(z.string(), '', 'Secret of that key.'),
  'models.copies_max_bytes': setting(
    count(1024, 1024 ** 5),
    200_000_000_000,
    'Most that copies of uploaded models take on this machine when they are stored in a bucket; those unused longest go.',
  ),
  'models.catalogue': setting(
    z.string(),
    '',
    'YAML or JSON file with a list of models of your own, each as for POST /models; they go before what ships.',
  ),
  'hub.endpoint': setting(
    z.union([z.literal(''), z.literal('none').transform(() => ''), z.url({ protocol: /^https?$/ })]),
    'https://huggingface.co',
    'The Hub that models named hf:… come from (HF_ENDPOINT); `none`: there is none.',
  ),
  'hub.cache_folder': setting(z.string(), '', 'Where its files are kept, for this server alone; default: DIR/hub.'),
  'hub.cache_max_bytes': setting(
    count(0, 2 ** 50),
    500 * 1000 ** 3,
    'Most that is kept of it; models that no replica uses go, those used longest ago first. 0: no limit.',
  ),
  'hub.min_free_bytes': setting(count(0, 2 ** 50), 2 * 1000 ** 3, 'Room on the disk that downloads leave free.'),
  'hub.timeout_seconds': setting(count(1, 600), 20, 'Longest that a create waits for what the Hub says of a model.'),
  'hub.files_at_once': setting(count(1, 64), 4, 'Files of one model that are brought at once.'),
  'start.deadline_seconds': setting(
    count(1, 86_400),
    600,
    'A start that takes longer counts as failed. While files are seen to come on, its clock stands still.',
  ),
  'start.hardware_deadline_seconds': setting(count(1, 86_400), 300, 'Longest wait for the hardware of a start.'),
  'start.files_deadline_seconds': setting(
    count(1, 86_400),
    300,
    'Longest time without progress while the files of a start (image, weights) come.',
  ),
  'start.load_deadline_seconds': setting(count(1, 86_400), 600, 'Longest time for an engine to load its model.'),
  'start.warmup_deadline_seconds': setting(count(1, 86_400), 300, 'Longest warm-up of an engine.'),
  'start.cold_start_target_seconds': setting(
    z.coerce.number().min(0).max(86_400),
    300,
    'A start that takes longer, from the first request or wake on, is told as missed; 0: none is. A deployment may have another.',
  ),
  'start.expected_seconds': setting(
    z.coerce.number().min(0.1).max(86_400),
    60,
    'How long a start is expected to take before one was measured.',
  ),
  'start.stable_seconds': setting(
    z.coerce.number().min(0).max(86_400),
    60,
    'A replica that was ready and ends sooner than this counts as a failed start; 0: being ready once is enough.',
  ),
  'start.brake_after': setting(count(1, 100), 5, 'Failed starts in a row after which a deployment is failed.'),
  'start.rollback_after': setting(
    count(1, 100),
    2,
    'Failed starts in a row after which a new revision gives way to the one before it.',
  ),
  'start.backoff_seconds': setting(
    z.coerce.number().min(0.01).max(3600),
    2,
    'First pause after a failed start; doubles.',
  ),
  'start.backoff_maximum_seconds': setting(
    z.coerce.number().min(0.01).max(86_400),
    300,
    'Longest pause between starts.',
  ),
  'liveness.unresponsive_seconds': setting(
    count(1, 3600),
    30,
    'A ready engine that answers no probe gets nothing new; after this long another takes its place.',
  ),
  'drain.deadline_seconds': setting(
    count(0, 86_400),
    600,
    'Longest wait for requests in flight before a replica is removed.',
  ),
  'autoscaling.look_every_seconds': setting(
    z.coerce.number().min(0.05).max(3600),
    30,
    'How often the policy steps looks; it acts after three looks that agree.',
  ),
  'autoscaling.fast_look_seconds': setting(
    z.coerce.number().min(0.05).max(600),
    2,
    'How often the policies target and slo look.',
  ),
  'autoscaling.queue_depth_up': setting(
    z.coerce.number().min(0).max(10_000),
    2,
    'The policy steps grows when more requests than this wait per ready replica.',
  ),
  'autoscaling.latency_up_ms': setting(
    count(1, 600_000),
    2000,
    'Without an SLA target, the policy steps grows when nine in ten requests see their first token later than this.',
  ),
  'autoscaling.cooldown_minimum_seconds': setting(
    z.coerce.number().min(0).max(86_400),
    120,
    'The cooldown of a scaling policy must be longer than this.',
  ),
  'autoscaling.idle_timeout_minimum_seconds': setting(
    z.coerce.number().min(0).max(86_400),
    60,
    'Shortest idle timeout of a scaling policy.',
  ),
  'schedule.windows_maximum': setting(count(1, 1000), 20, 'Most windows of one schedule.'),
  'lease.warning_seconds': setting(
    count(0, 2_592_000),
    3600,
    'So long before the end of a lease (expires_at) the event deployment.expiring tells of it.',
  ),
  'quota.gpus': setting(count(0, 100_000), 8, 'GPUs an organisation may hold unless the operator sets another number.'),
  'quota.upload_bytes': setting(
    count(0, 1024 ** 5),
    100_000_000_000,
    'Bytes of uploaded models that an organisation may keep.',
  ),
  replicas_maximum: setting(count(1, 1000), 10, 'Most replicas of one deployment.'),
  'tables.poll_milliseconds': setting(count(10, 10_000), 250, 'How often a gateway looks for changes.'),
  'tables.max_stale_seconds': setting(count(1, 86_400), 900, 'Oldest snapshot a gateway may start from.'),
  'gateway.workers': setting(
    count(0, 256),
    0,
    'Threads that answer requests, all on the public port. 0: one less than this machine has cores, at least 1.',
  ),
  'gateway.worker_heap_megabytes': setting(
    count(48, 1_048_576),
    2048,
    'With several workers: JavaScript memory of each. One that needs more is ended and replaced.',
  ),
  'gateway.max_body_bytes': setting(count(1024, 1_073_741_824), 10 * 1024 * 1024, 'Largest request body.'),
  'gateway.upload_bytes_per_second': setting(
    count(1024, 1_073_741_824),
    64 * 1024 * 1024,
    'All uploads of models together, so that they do not slow running answers.',
  ),
  'gateway.body_timeout_seconds': setting(count(1, 3600), 60, 'A body that stalls this long is refused.'),
  'gateway.connect_timeout_seconds': setting(count(1, 600), 5, 'Longest wait for a connection to a replica.'),
  'gateway.first_byte_timeout_seconds': setting(count(1, 86_400), 600, 'Longest wait for an answer to begin.'),
  'gateway.answer_timeout_seconds': setting(
    count(1, 86_400),
    3600,
    'Longest wait for a plain answer, which comes at once when all of it is generated.',
  ),
  'gateway.chunk_timeout_seconds': setting(count(1, 86_400), 120, 'Longest silence in a running answer.'),
  'gateway.max_answer_bytes': setting(count(1024, 1_073_741_824), 64 * 1024 * 1024, 'Largest plain answer.'),
  'gateway.replica_connections': setting(count(1, 65_535), 1024, 'Most connections of a worker to one replica.'),
  'gateway.retry_share': setting(
    z.coerce.number().min(0).max(1),
    0.2,
    'Requests that an engine may have seen and did not answer are sent to another replica up to this share of a deployment’s requests.',
  ),
  'gateway.on_disconnect': setting(
    z.enum(['abort', 'drain']),
    'abort',
    'What becomes of a stream whose client leaves: it ends at the engine at once, or runs to its end and is charged whole.',
  ),
  'gateway.media_domains': setting(
    list,
    [] as string[],
    'Hosts from which engines may fetch the pictures, sounds and films that requests name; "*.example.com" for all under one. Others must come as data URLs.',
  ),
  'gateway.trusted_proxies': setting(
    list,
    [] as string[],
    'Addresses or networks (CIDR) whose X-Forwarded-For, -Proto and -Host are believed.',
  ),
  'journal.sync_milliseconds': setting(
    count(1, 1000),
    50,
    'How long what the journal was told may stay off the disk: what a power failure may cost.',
  ),
  'journal.segment_bytes': setting(count(64 * 1024, 1024 ** 3), 8 * 1024 * 1024, 'Size of a file of the journal.'),
  'journal.max_bytes': setting(
    count(1024 ** 2, 1024 ** 4),
    4 * 1024 ** 3,
    'Most that the journal keeps while the database takes nothing; more counts as full.',
  ),
  'journal.min_free_bytes': setting(
    count(0, 1024 ** 4),
    64 * 1024 * 1024,
    'A disk with less room than this counts as full.',
  ),
  'journal.when_full': setting(
    z.enum(['refuse', 'serve_unmetered']),
    'refuse',
    'What a gateway does whose journal cannot be written: refuse inference with 503, or serve without counting.',
  ),
  'usage.retention_days': setting(
    count(2, 3650),
    90,
    'How long single requests stay in the ledger; the sums per minute stay for ever.',
  ),
  'limits.lease_seconds': setting(
    count(2, 86_400),
    900,
    'How long a gateway may use its share of a limit while the database is away, and how long nobody else has the share of one that is gone.',
  ),
  'limits.queue_seconds': setting(
    z.coerce.number().min(0).max(600),
    5,
    'How long a request waits in line when a limit of requests at once is reached; 0: it is refused.',
  ),
  'limits.queue_requests': setting(count(0, 1_000_000), 1000, 'Requests in line per deployment and host.'),
  'limits.queue_bytes': setting(
    count(0, 64 * 1024 ** 3),
    64 * 1024 * 1024,
    'Bytes of requests in line per deployment and host.',
  ),
  'hold.max_seconds': setting(count(0, 3600), 300, 'How long a request is held for a replica.'),
  'hold.comment_seconds': setting(
    z.coerce.number().min(0.05).max(300),
    10,
    'A stream that waits, held or for its engine, gets a comment this often, so that nobody in between hangs up.',
  ),
  'hold.max_requests': setting(count(0, 1_000_000), 1000, 'Held requests per deployment.'),
  'hold.max_bytes': setting(count(0, 64 * 1024 ** 3), 256 * 1024 * 1024, 'Bytes of held requests per deployment.'),
} as const satisfies Record<string, Setting>

export type SettingName = keyof typeof settings
export type Config = { readonly [N in SettingName]: (typeof settings)[N] extends Setting<infer T> ? T : never }
