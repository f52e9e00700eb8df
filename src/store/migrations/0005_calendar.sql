-- Leases, schedules and presets.

-- The end of the lease: stopped from then on.
alter table deployments add column expires_at timestamptz;
-- {windows: [...]}, checked; null = none
alter table deployments add column schedule jsonb;
-- What the calendar said at its last look, and when that was; null = it was never looked at.
alter table deployments add column calendar jsonb;
alter table deployments add column calendar_looked_at timestamptz;
-- When it is looked at again; null = never, unless something is changed.
alter table deployments add column calendar_at timestamptz;
create index deployments_calendar on deployments (calendar_at) where calendar_at is not null and deleted_at is null;
-- person, inactive_timeout, schedule or lease; null = it is not stopped, or a person did before this was noted
alter table deployments add column stopped_by text
  check (stopped_by in ('person', 'inactive_timeout', 'schedule', 'lease'));
-- the preset that was applied last
alter table deployments add column preset text;
