# The images of a bundle are in the registry, as the pillar's docker_registry:bundle says. It is not part of docker_registry:
# a site that wants it names it, in place of docker_registry.sync.

include:
  - .modules

Images of the bundle are here:
  registry_sync.imported:
    - require:
      - test: Modules of the formula are loaded
