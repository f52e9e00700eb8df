-- Ten thousand deployments: what was changed of late, and parts of all that run, are found without reading all.

create index deployments_changed on deployments (updated_at);
create index deployments_running on deployments (id) where desired = 'running' and phase <> 'failed';
