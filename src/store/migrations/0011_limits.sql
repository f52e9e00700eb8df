-- How much may be asked: {rpm, tpm, concurrency}, what is absent or null is not limited.

alter table deployments add column limits jsonb not null default '{}' check (jsonb_typeof(limits) = 'object');
alter table api_keys add column limits jsonb not null default '{}' check (jsonb_typeof(limits) = 'object');
-- the highest priority that a request with the key may have
alter table api_keys add column priority integer not null default 0 check (priority between 0 and 4);
