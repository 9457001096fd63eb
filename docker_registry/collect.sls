# The space of images that are gone is freed, as the pillar's docker_registry:collect says. It is not part of docker_registry:
# a site that wants it names it, after docker_registry.prune.

include:
  - .modules

Space of images that are gone is freed:
  registry_sync.collected:
    - require:
      - test: Modules of the formula are loaded
