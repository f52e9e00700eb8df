-- What gateways measured of each deployment: a line for every report of a gateway, put together by the minute when it is
-- five minutes old, dropped after an hour. Unlogged: what a crash of the database takes is an hour of curves, and what
-- is charged stands elsewhere.
create unlogged table metric_samples (
  -- one run of one gateway, or 'minute' for several of them together
  source text not null,
  -- of that source, ascending; of 'minute', the minute since epoch
  seq bigint not null,
  -- '' of requests that ended before theirs was known
  deployment_id text not null,
  operation text not null,
  began_at timestamptz not null,
  at timestamptz not null,
  -- usage/metrics/sample.ts
  sample jsonb not null,
  primary key (source, seq, deployment_id, operation)
);
create index metric_samples_deployment on metric_samples (deployment_id, at);
create index metric_samples_at on metric_samples (at);

-- How the gateway's process is: {rssBytes, loopDelayMs: {p50, p99, max}}
alter table gateways add column process jsonb not null default '{}';
