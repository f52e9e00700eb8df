-- Rolls that know what has worked.

-- A replica of it was ready once: it is not given up because others do not start.
alter table revisions add column proven boolean not null default false;
update revisions set proven = true
  where exists (select 1 from replicas where replicas.revision_id = revisions.id and replicas.ready_at is not null);
-- May take the place of the one before it while nothing else answers.
alter table revisions add column in_place boolean not null default true;
