-- The log of events in an order that readers can follow, and nothing but appended to.

-- The transaction that wrote the event. `seq` is given out before the commit: a transaction that commits late brings
-- events that are earlier than what a reader has seen. By (xid, seq), below every transaction that still runs, the
-- order is final.
alter table events add column xid xid8 not null default pg_current_xact_id();
create index events_order on events (xid, seq);

-- How far each reader has come: everything up to (xid, seq) is done.
create table event_cursors (
  name text primary key,
  xid xid8 not null,
  seq bigint not null,
  moved_at timestamptz not null
);

create function events_are_facts() returns trigger language plpgsql as $$
begin
  raise exception 'events are only ever appended: % is refused', tg_op;
end
$$;
create trigger events_append_only before update or delete on events for each row execute function events_are_facts();
create trigger events_not_truncated before truncate on events for each statement execute function events_are_facts();
