-- Hardware that is short: the queue for it, and what an organisation may hold.

-- what it waits for and where it stands, see deployments/waiting.ts; null = it waits for nothing
alter table deployments add column waiting jsonb;
create index deployments_waiting on deployments ((waiting->'since')) where waiting is not null;

-- growth that was refused: {code, message}; null = none was
alter table deployments add column limited jsonb;

-- GPUs it may hold; null = as many as the server's setting says
alter table orgs add column quota_gpus integer check (quota_gpus between 0 and 1000000);
