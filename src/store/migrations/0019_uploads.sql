-- Models that organisations bring themselves. A row is written before the first byte is kept and is removed after the
-- last is gone, so that bytes without a row are nobody's.

create table uploads (
  id text primary key,
  org_id text not null references orgs (id),
  -- null until the part of the form that names it has come
  name text check (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
  status text not null check (status in ('uploading', 'validating', 'ready', 'failed', 'deleting')),
  -- why it failed: {code, message}
  reason jsonb,
  -- it may go on after an interruption
  resumable boolean not null,
  -- of the file; before it is known the most that may come, which counts against the quota
  size_bytes bigint not null check (size_bytes >= 0),
  -- of an upload that goes on: what is durably kept
  received_bytes bigint not null default 0 check (received_bytes >= 0),
  sha256 text check (sha256 ~ '^[0-9a-f]{64}$'),
  -- what its header says: {kind, architecture, contextSize, quantization}
  facts jsonb,
  -- rolls to it when it is ready
  deployment_id text references deployments (id),
  -- how that went: {state: waiting | done | refused, why}
  roll jsonb,
  by_key text not null,
  -- the control that is receiving it; what a killed one left is known by it
  holder text not null,
  created_at timestamptz not null,
  -- last time that bytes came or that it went on
  touched_at timestamptz not null
);
create unique index uploads_name on uploads (org_id, name) where status in ('uploading', 'validating', 'ready');
create index uploads_org on uploads (org_id, created_at);
create index uploads_busy on uploads (status) where status <> 'ready';
