-- LoRA adapters of deployments, and how far each replica is with each of them.

create table adapters (
  id text primary key,
  org_id text not null,
  deployment_id text not null references deployments (id),
  name text not null,
  -- as it was asked for
  source text not null,
  format text not null check (format in ('gguf', 'peft')),
  path text not null,
  rank integer not null,
  size_bytes bigint not null,
  -- what it says that it was trained on
  base text,
  created_at timestamptz not null,
  removed_at timestamptz
);
create unique index adapters_named on adapters (deployment_id, name) where removed_at is null;
create index adapters_of on adapters (deployment_id);

create table adapter_replicas (
  adapter_id text not null references adapters (id) on delete cascade,
  replica_id text not null references replicas (id) on delete cascade,
  state text not null check (state in ('pending', 'loading', 'ready', 'failed')),
  detail text,
  -- by which requests ask this engine for it
  handle text,
  tries integer not null default 0,
  next_at timestamptz not null,
  changed_at timestamptz not null,
  primary key (adapter_id, replica_id)
);
create index adapter_replicas_of on adapter_replicas (replica_id);

-- What the gateways are told of them; null = it has none.
alter table deployments add column adapters jsonb check (jsonb_typeof(adapters) = 'object');
create index deployments_with_adapters on deployments (id) where adapters is not null;
