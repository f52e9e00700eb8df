-- The token with which an organisation reads from the Hub.
create table hub_tokens (
  org_id text primary key references orgs (id),
  -- by runtime/seal.ts; the token itself is nowhere
  sealed text not null,
  hint text not null check (length(hint) <= 4),
  -- null = the Hub could not be asked
  account text,
  changed_at timestamptz not null
);
