-- Where an adapter's files come from, and what was read of them when it was added.

alter table adapters
  -- what its name was pinned to; null = a path on this disk
  add column origin jsonb check (jsonb_typeof(origin) = 'object'),
  -- which matrices it changes; null = it was added before that was kept, and its file says so
  add column facts jsonb check (jsonb_typeof(facts) = 'object'),
  -- whatever it says that it was trained on
  add column forced boolean not null default false;
create index adapters_by_source on adapters (org_id, source);
