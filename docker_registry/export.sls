# The images of the list are in a bundle for a site that no network reaches, as the pillar's docker_registry:bundle says. It
# is not part of docker_registry: a site that wants it names it.

include:
  - .modules

Images are in a bundle:
  registry_sync.exported:
    - require:
      - test: Modules of the formula are loaded
