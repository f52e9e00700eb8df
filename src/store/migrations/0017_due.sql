-- Of ten thousand that are due at the same moment (at a start of control all are) a part is claimed without sorting all.

drop index deployments_due;
create index deployments_due on deployments (next_at, id) where lease_until is null;
