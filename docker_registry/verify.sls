# Every byte and every pointer of the mirror is looked at, and repaired where the pillar's docker_registry:verify says
# so. It is not part of docker_registry: a site that wants it names it.

include:
  - .modules

Mirror is whole:
  registry_sync.verified:
    - require:
      - test: Modules of the formula are loaded
