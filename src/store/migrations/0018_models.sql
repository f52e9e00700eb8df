-- Models that the operator added to the catalogue over the API, as they were sent.
create table catalogue_models (
  id text primary key,
  entry jsonb not null,
  added_at timestamptz not null
);
