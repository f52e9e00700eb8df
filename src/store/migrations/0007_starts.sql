-- Starts: what comes on, and how long it took until somebody answered.

-- The last change in what was told of the files of a start: {at, detail}
alter table replicas add column start_progress jsonb;
-- Since when nothing answers although something should: {from, at}
alter table deployments add column cold jsonb;
-- The last time that it took until something answered, see cold-start.ts
alter table deployments add column cold_start jsonb;
