-- what a replica's deployment waited with when it took the place, see deployments/queue.ts: given back when the place turns
-- out not to be there; null = it had not waited for it, or has the place
alter table replicas add column claim jsonb;
