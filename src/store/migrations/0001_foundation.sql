-- Who rents, what they run, and where it runs. Ids are our own sortable texts; times are given by the program.

create table orgs (
  id text primary key,
  name text not null unique check (length(name) between 1 and 100),
  created_at timestamptz not null
);

create table api_keys (
  id text primary key,
  org_id text not null references orgs (id),
  name text not null check (length(name) between 1 and 100),
  role text not null check (role in ('owner', 'admin', 'developer', 'billing', 'viewer', 'scoped')),
  operator boolean not null default false,
  -- deployment id → role on it
  grants jsonb not null default '{}' check (jsonb_typeof(grants) = 'object'),
  -- SHA-256 of the secret in hex; the secret itself is shown once and kept nowhere
  hash text not null unique check (hash ~ '^[0-9a-f]{64}$'),
  -- the secret's last four characters
  hint text not null check (length(hint) <= 4),
  created_at timestamptz not null,
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  -- of the keyring, see table_versions
  version bigint not null
);
create index api_keys_version on api_keys (version);
create index api_keys_org on api_keys (org_id, created_at);

create table deployments (
  id text primary key,
  org_id text not null references orgs (id),
  name text not null check (name ~ '^[a-z0-9-]{1,63}$'),
  spec jsonb not null,
  desired text not null check (desired in ('running', 'stopped', 'deleted')),
  desired_replicas integer not null check (desired_replicas >= 0),
  -- number of the newest revision
  revision integer not null check (revision >= 1),
  phase text not null check (phase in (
    'queued', 'starting', 'serving', 'scaling', 'rolling', 'degraded',
    'asleep', 'waking', 'stopping', 'stopped', 'failed', 'deleted'
  )),
  -- {code, message, since, retry_after?}
  reason jsonb,
  ready_replicas integer not null default 0 check (ready_replicas >= 0),
  -- the sentences of the last plan
  plan_why jsonb not null default '[]',
  -- failed starts in a row: {failed, lastAt, why, lastLines}
  starts jsonb not null default '{"failed": 0, "lastAt": 0, "why": "", "lastLines": []}',
  emulated boolean not null default false,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  deleted_at timestamptz,
  -- the loop protocol, see leases.ts: who works on it until when, and when somebody should look again
  lease_token text,
  lease_until timestamptz,
  next_at timestamptz,
  check ((lease_token is null) = (lease_until is null))
);
create unique index deployments_name on deployments (org_id, name) where deleted_at is null;
create index deployments_org on deployments (org_id, created_at);
create index deployments_due on deployments (next_at) where lease_until is null;
create index deployments_leased on deployments (lease_until) where lease_until is not null;

-- An immutable copy of a deployment's spec; traffic is split over revisions by weight.
create table revisions (
  id text primary key,
  deployment_id text not null references deployments (id),
  number integer not null check (number >= 1),
  spec jsonb not null,
  weight integer not null default 100 check (weight between 0 and 100),
  created_at timestamptz not null,
  unique (deployment_id, number)
);

-- One engine on one piece of hardware. The row exists before the provider is asked; its id is the provider's tag.
create table replicas (
  id text primary key,
  deployment_id text not null references deployments (id),
  revision_id text not null references revisions (id),
  org_id text not null references orgs (id),
  phase text not null check (phase in ('planned', 'starting', 'ready', 'draining', 'deleting', 'gone')),
  provider text not null,
  gpu_type text not null,
  -- units of that type
  gpu_count integer not null check (gpu_count >= 1),
  region text not null,
  emulated boolean not null default false,
  price_micro_usd_per_unit_hour bigint not null check (price_micro_usd_per_unit_hour >= 0),
  address text,
  port integer check (port between 1 and 65535),
  -- start phase → moment it began, ms since epoch
  start_phases jsonb not null default '{}',
  created_at timestamptz not null,
  started_at timestamptz,
  ready_at timestamptz,
  drain_at timestamptz,
  -- version of the route table that tells the gateways of the drain
  drain_version bigint,
  -- first probe unanswered since the last answered one
  unhealthy_since timestamptz,
  ended_at timestamptz,
  gone_at timestamptz,
  -- {at, code, signal, lastLines, why}
  exit jsonb,
  check ((phase = 'gone') = (gone_at is not null))
);
create index replicas_deployment on replicas (deployment_id, created_at);
create index replicas_live on replicas (deployment_id) where phase <> 'gone';
create index replicas_hardware on replicas (provider, gpu_type, region) where phase <> 'gone';

-- What the gateways know of each deployment.
create table routes (
  deployment_id text primary key references deployments (id),
  org_id text not null references orgs (id),
  document jsonb not null,
  version bigint not null
);
create index routes_version on routes (version);

-- One counter per published table. A publishing transaction adds one; the row's lock makes the order of commits the
-- order of versions, so that a reader who has version n has everything up to n.
create table table_versions (
  name text primary key,
  version bigint not null
);
insert into table_versions (name, version) values ('keyring', 0), ('routes', 0);

create table gateways (
  id text primary key,
  started_at timestamptz not null,
  seen_at timestamptz not null,
  keyring_version bigint not null default 0,
  routes_version bigint not null default 0,
  -- replica id → requests under way
  in_flight jsonb not null default '{}'
);

-- What happened, append-only, written in the transaction that did it.
create table events (
  seq bigserial primary key,
  id text not null unique,
  org_id text not null,
  deployment_id text,
  type text not null,
  data jsonb not null default '{}',
  at timestamptz not null
);
create index events_deployment on events (deployment_id, seq);
create index events_org on events (org_id, seq);

-- Answers to requests that carried an Idempotency-Key, sealed: some hold a secret that is shown once.
create table idempotency (
  org_id text not null,
  key text not null check (length(key) between 1 and 255),
  route text not null,
  request_hash text not null,
  response text not null,
  created_at timestamptz not null,
  primary key (org_id, key, route)
);
create index idempotency_created on idempotency (created_at);
