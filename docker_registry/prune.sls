# Images that no list wants any more are forgotten, as the pillar's docker_registry:prune says. It is not part of
# docker_registry: a site that wants it names it.

include:
  - .modules

Unwanted images are pruned:
  registry_sync.pruned:
    - require:
      - test: Modules of the formula are loaded
