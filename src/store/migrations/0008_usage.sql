-- What was used. Every request once, kept for a while; the sums of a minute, kept for ever.

-- Arrival is part of the key, so that days can come and go as partitions; a request's id and its arrival never part.
-- Nothing refers to other tables: a journal may be shipped long after what it speaks of was deleted.
create table usage_requests (
  request_id text not null,
  received_at timestamptz not null,
  -- the moment at which it is counted: when the gateway settled it, whenever the database heard of it
  settled_at timestamptz not null,
  -- who pays; null when nobody was known
  org_id text,
  key_id text,
  deployment_id text,
  replica_id text,
  model text,
  adapter text,
  -- the model's name as the client wrote it
  asked_model text,
  route text not null,
  stream boolean not null,
  status integer not null,
  code text,
  charged boolean not null,
  prompt_tokens integer not null check (prompt_tokens >= 0),
  cached_tokens integer not null check (cached_tokens >= 0),
  completion_tokens integer not null check (completion_tokens >= 0),
  reasoning_tokens integer not null check (reasoning_tokens >= 0),
  -- the engine did not say; events and bytes were counted instead
  estimated boolean not null,
  queue_ms integer not null,
  ttft_ms integer,
  total_ms integer not null,
  bytes_in bigint not null,
  bytes_out bigint not null,
  client_request_id text,
  primary key (received_at, request_id)
) partition by range (received_at);
create index usage_requests_deployment on usage_requests (deployment_id, received_at);

-- For what no day has been made for: nothing is ever refused for want of one.
create table usage_requests_other partition of usage_requests default;

-- '' where a request has none.
create table usage_minutes (
  minute timestamptz not null,
  org_id text not null,
  deployment_id text not null,
  key_id text not null,
  model text not null,
  adapter text not null,
  status integer not null,
  charged boolean not null,
  requests bigint not null,
  -- of these, with tokens that were estimated
  estimated bigint not null,
  prompt_tokens bigint not null,
  cached_tokens bigint not null,
  completion_tokens bigint not null,
  reasoning_tokens bigint not null,
  primary key (deployment_id, minute, key_id, model, adapter, status, org_id)
);
create index usage_minutes_org on usage_minutes (org_id, minute);
create index usage_minutes_minute on usage_minutes (minute);

-- How the gateway's journal is: {problem, refuses, bytes, waiting, unrecorded, shipped, repeated, rejected, failingSince}
alter table gateways add column journal jsonb not null default '{}';
