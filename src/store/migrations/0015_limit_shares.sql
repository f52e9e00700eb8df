-- Which part of a limit a gateway may use, in any 60 seconds. A row counts 60 seconds longer than it may be used.

create table limit_shares (
  -- dep/<deployment id> or key/<key id>
  subject text not null,
  -- gateway id and its start: <id>/<start>
  holder text not null,
  requests bigint not null check (requests >= 0),
  tokens bigint not null check (tokens >= 0),
  wants_requests bigint not null default 0,
  wants_tokens bigint not null default 0,
  -- it wants more than it could get: others are to give back what they do not need
  wanting boolean not null default false,
  until timestamptz not null,
  primary key (subject, holder)
);
create index limit_shares_until on limit_shares (until);
create index limit_shares_wanting on limit_shares (subject) where wanting;
