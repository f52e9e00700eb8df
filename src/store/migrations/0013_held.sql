-- What is held of each hardware, kept as a sum: whoever takes or frees some changes it in the same transaction, and
-- whoever wants to take some asks one row, under its lock, instead of summing all replicas.

create table hardware_held (
  provider text not null,
  gpu_type text not null,
  region text not null,
  -- of replicas that are not gone; a successor and the one whose place it waits for hold it once
  units bigint not null,
  primary key (provider, gpu_type, region)
);
create index replicas_after on replicas (after_replica) where after_replica is not null and phase <> 'gone';

create function replicas_take() returns trigger language plpgsql as $$
begin
  insert into hardware_held as held (provider, gpu_type, region, units)
  select provider, gpu_type, region, sum(gpu_count) from added
  where phase <> 'gone' and (after_replica is null or not exists
    (select 1 from replicas as before where before.id = added.after_replica and before.phase <> 'gone'))
  group by 1, 2, 3 order by 1, 2, 3
  on conflict (provider, gpu_type, region) do update set units = held.units + excluded.units;
  return null;
end $$;
create trigger replicas_take after insert on replicas referencing new table as added
  for each statement execute function replicas_take();

-- What those held that are gone now is free, or their successors'.
create function replicas_free() returns trigger language plpgsql as $$
begin
  if not exists (select 1 from changed where phase = 'gone') then
    return null;
  end if;
  insert into hardware_held as held (provider, gpu_type, region, units)
  with freed as materialized (
    select was.* from was join changed on changed.id = was.id where was.phase <> 'gone' and changed.phase = 'gone'
  )
  select provider, gpu_type, region, sum(units) from (
    select provider, gpu_type, region, -gpu_count as units from freed
    where after_replica is null or not exists
      (select 1 from replicas as before where before.id = freed.after_replica
         and (before.phase <> 'gone' or before.id in (select id from freed)))
    union all
    select provider, gpu_type, region, gpu_count from replicas
    where phase <> 'gone' and after_replica in (select id from freed)
  ) as changes
  group by 1, 2, 3 having sum(units) <> 0 order by 1, 2, 3
  on conflict (provider, gpu_type, region) do update set units = held.units + excluded.units;
  return null;
end $$;
create trigger replicas_free after update on replicas referencing old table as was new table as changed
  for each statement execute function replicas_free();

-- The same for rows that somebody removes: none that a successor waits for.
create function replicas_forget() returns trigger language plpgsql as $$
begin
  insert into hardware_held as held (provider, gpu_type, region, units)
  select provider, gpu_type, region, -sum(gpu_count) from was
  where phase <> 'gone' and (after_replica is null
    or not exists (select 1 from replicas as before where before.id = was.after_replica and before.phase <> 'gone')
      and not exists (select 1 from was as before where before.id = was.after_replica and before.phase <> 'gone'))
  group by 1, 2, 3 order by 1, 2, 3
  on conflict (provider, gpu_type, region) do update set units = held.units + excluded.units;
  return null;
end $$;
create trigger replicas_forget after delete on replicas referencing old table as was
  for each statement execute function replicas_forget();

insert into hardware_held (provider, gpu_type, region, units)
select provider, gpu_type, region, sum(gpu_count) from replicas where phase <> 'gone'
  and (after_replica is null or not exists
    (select 1 from replicas as before where before.id = replicas.after_replica and before.phase <> 'gone'))
group by 1, 2, 3;

-- was for that sum
drop index replicas_hardware;
