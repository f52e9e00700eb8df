-- when its provider was last seen to run it, written now and then: where one vanished while nobody looked, its interval ends
-- there; null = not since it was ready
alter table replicas add column seen_at timestamptz;
