-- Rolls, sleep and scaling: revisions that failed, replicas that take over another's place, scaling as data.

alter table revisions add column failed boolean not null default false;
-- why it was given up, in a sentence
alter table revisions add column failed_why text;

-- The replica whose hardware this one takes over; it is created when that one is gone.
alter table replicas add column after_replica text references replicas (id);

-- The scaling policy as wished, and what the autoscaler remembers between looks.
alter table deployments add column scaling jsonb not null default '{}';
alter table deployments add column autoscaler jsonb not null default '{}';

-- What was decided, and why. One row per change of the wanted replicas, and per look that wanted one but could not.
create table scaling_decisions (
  seq bigserial primary key,
  deployment_id text not null references deployments (id),
  at timestamptz not null,
  from_replicas integer not null,
  to_replicas integer not null,
  cause text not null,
  why text not null
);
create index scaling_decisions_deployment on scaling_decisions (deployment_id, seq);

-- What is asked of each deployment, as the gateway sees it: deployment id → {held, arrivals, rejected, lastAt, ttftMsP90}
alter table gateways add column demand jsonb not null default '{}';
