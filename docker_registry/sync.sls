# The images of the list are copied into the registry, wherever it runs.

include:
  - .modules

Images are mirrored:
  registry_sync.synced:
    - require:
      - test: Modules of the formula are loaded
