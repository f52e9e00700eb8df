-- Deployment → requests that wait at that gateway for their turn under its limits.
alter table gateways add column queued jsonb not null default '{}';
