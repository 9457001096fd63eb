# All sites of registry_fleet: (the master's configuration) are brought up to date, wave after wave:
#
#   salt-run saltutil.sync_all
#   salt-run state.orchestrate docker_registry.fleet [test=True]
#
# It runs on the master, not on minions. Who wants other steps between two waves names each in a file of his own, as
# docs/fleet.md shows.

All sites are current:
  registry_fleet.rolled_out: []
