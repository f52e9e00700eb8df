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

-- What it held is free, or its successor's.
create function replicas_free() returns trigger language plpgsql as $$
begin
  insert into hardware_held as held (provider, gpu_type, region, units)
  select provider, gpu_type, region, sum(units) from (
    select old.provider, old.gpu_type, old.region, -old.gpu_count as units
    where old.after_replica is null or not exists
      (select 1 from replicas as before where before.id = old.after_replica and before.phase <> 'gone')
    union all
    select provider, gpu_type, region, gpu_count from replicas where after_replica = old.id and phase <> 'gone'
  ) as changes
  group by 1, 2, 3 having sum(units) <> 0 order by 1, 2, 3
  on conflict (provider, gpu_type, region) do update set units = held.units + excluded.units;
  return null;
end $$;
create trigger replicas_free after update of phase on replicas for each row
  when (old.phase <> 'gone' and new.phase = 'gone') execute function replicas_free();

insert into hardware_held (provider, gpu_type, region, units)
select provider, gpu_type, region, sum(gpu_count) from replicas where phase <> 'gone'
  and (after_replica is null or not exists
    (select 1 from replicas as before where before.id = replicas.after_replica and before.phase <> 'gone'))
group by 1, 2, 3;

-- was for that sum
drop index replicas_hardware;
