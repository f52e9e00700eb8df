-- How much may be asked of an adapter, besides what may be asked of its deployment; what is null or absent is no limit.
-- Shares of them are of the subject ada/<deployment id>/<adapter name>.
alter table adapters add column limits jsonb not null default '{}' check (jsonb_typeof(limits) = 'object');
